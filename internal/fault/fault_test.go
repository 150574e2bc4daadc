package fault

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestEveryKindSurvivesTheBus(t *testing.T) {
	for _, row := range table {
		err := fmt.Errorf("cannot do it: %w", row.err)
		back := FromName(Prefix+Name(err), err.Error())
		if back.Error() != err.Error() || Exit(back) != row.exit || Name(back) != row.name {
			t.Errorf("%s: came back as %s %d %q", row.name, Name(back), Exit(back), back)
		}
	}
	if !errors.Is(FromName("Busy", "busy"), ErrBusy) {
		t.Error("a kind that came over the bus is not the one of the table")
	}
}

func TestExitCodesOfTheDesign(t *testing.T) {
	for err, want := range map[error]int{
		nil: 0, ErrFailed: 1, ErrInvalidArgument: 2, ErrPackageManager: 3, ErrNotFound: 4, ErrProtected: 5, ErrBusy: 6, ErrStale: 7,
		ErrNoSpace: 8, ErrNotAuthorized: 9, ErrNotSupported: 10, ErrConflicts: 11, ErrUnreconciled: 12, ErrCancelled: 130,
		context.Canceled: 130, errors.New("of no kind"): 1,
		fmt.Errorf("cannot do it: %w", errors.ErrUnsupported): 10,
		fmt.Errorf("cannot write: %w", syscall.ENOSPC):        8, fmt.Errorf("cannot write: %w", syscall.EDQUOT): 8,
	} {
		if got := Exit(err); got != want {
			t.Errorf("exit code of %v is %d, want %d", err, got, want)
		}
	}
	if Name(nil) != "" || Name(errors.New("of no kind")) != "Failed" || Exit(FromName("FromTheFuture", "x")) != 1 {
		t.Error("what is in no table is not Failed")
	}
}
