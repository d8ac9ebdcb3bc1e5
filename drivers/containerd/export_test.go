package containerd

// For tests of what this machine cannot run: the other version of control
// groups.
var (
	Resources  = resources
	CountsSwap = countsSwap
	Held       = unreclaimable
	Counter    = counter
	OwnGroups  = ownGroups
	Matches    = matches // emulators, which this machine may not have

	KernelLimits = kernelLimits
	Differences  = differences
	WrittenBelow = writtenBelow
)
