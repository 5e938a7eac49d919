// Package follow is the decision core of follow mode: what to believe of an external consensus node, and which heads
// follow from it.
//
// It is pure. A call takes facts and returns a decision; there is no I/O, no clock, no goroutine and no log in here, so
// every function may be called from anywhere and gives the same answer for the same arguments. Gathering the facts and
// acting on the decisions is the work of the packages around it:
//
//	Status ──Screen──▶ L1Refs ──(L1 view)──▶ Validate ──▶ Target ──Plan──▶ HeadPlan ──▶ one forkchoice update
//
// The rules V1–V6 stand in validate.go, the cases of the head plan and V7 in plan.go, the reasons in reason.go. Beside that
// line, agree.go picks the target out of what several sources say, and contradict.go tells which of them cannot both be right.
package follow
