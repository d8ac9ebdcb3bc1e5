package state

// Written is what the processes of a container have written to its root filesystem,
// outside of its data and its mounts. It ends with the container.
type Written struct {
	Paths []WrittenPath // the largest first
	More  bool          // there is more than was counted
	Err   string        // why it is not known; "" when it is
}

// WrittenPath is what was written at a path: a file, or the folder that has all of
// these files.
type WrittenPath struct {
	Path    string
	Files   int
	Bytes   int64
	Deleted int  // files and folders of the image that were deleted
	Volume  bool // the image calls it a volume
}

// Nothing reports whether nothing was written, as far as that is known.
func (w Written) Nothing() bool { return len(w.Paths) == 0 && !w.More && w.Err == "" }
