package memory_test

import (
	"testing"

	"carrel/apply"
	"carrel/drivers/drivertest"
	"carrel/drivers/drivertest/memory"
)

var _ interface {
	apply.Runtime
	apply.Volumes
	apply.Records
} = (*memory.Host)(nil)

func TestRecords(t *testing.T) {
	drivertest.RunRecords(t, func(*testing.T) drivertest.Store { return memory.New("h") })
}
