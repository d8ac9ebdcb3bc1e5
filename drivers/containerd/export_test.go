package containerd

// For tests of what this machine cannot run: the other version of control
// groups.
var (
	Resources  = resources
	CountsSwap = countsSwap
	Held       = unreclaimable
	Counter    = counter
	OwnGroups  = ownGroups

	KernelLimits = kernelLimits
	Differences  = differences
	WrittenBelow = writtenBelow
)
