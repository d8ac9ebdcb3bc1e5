package containerd

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// clockTicks is how many units of time in /proc are a second. It is the same on all
// hosts.
const clockTicks = 100

// startField is the index of the start time among the fields after the command's
// name in /proc/PID/stat; it is field 22 in proc(5).
const startField = 22 - 3

// Started is when a process of this host was started; zero when it is gone.
func Started(pid uint32) time.Time {
	stat, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/stat")
	if err != nil {
		return time.Time{}
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= startField {
		return time.Time{}
	}
	ticks, err := strconv.ParseInt(string(fields[startField]), 10, 64)
	var up unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	age := time.Duration(up.Nano()) - time.Duration(ticks)*time.Second/clockTicks
	return time.Now().Add(-age).Round(time.Second / clockTicks)
}
