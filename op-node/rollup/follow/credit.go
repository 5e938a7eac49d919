package follow

import "time"

const (
	// maxCredit is how many polls can be saved up.
	maxCredit = 8
	// firstCredit is what there is to begin with: the first poll, two requests to find out who the source is, and two more
	// polls if it has nothing to say yet.
	firstCredit = 5
	// accrual is what a period brings in: a little less than the one request that it may cost, so that spending what was
	// saved up does not exceed the budget either, except for a short time.
	accrual = .99
)

// credit is a budget of one request per period.
type credit struct {
	period time.Duration
	amount float64
	at     time.Time
}

func newCredit(period time.Duration) credit { return credit{period: period, amount: firstCredit} }

// spend takes what one request costs.
func (c credit) spend(now time.Time) credit {
	if !c.at.IsZero() && now.After(c.at) {
		c.amount = min(maxCredit, c.amount+accrual*float64(now.Sub(c.at))/float64(c.period))
	}
	c.at = now
	c.amount--
	return c
}

// reaches is when the credit reaches an amount; in the past if it has.
func (c credit) reaches(amount float64) time.Time {
	missing := amount - c.amount
	if missing <= 0 {
		return c.at
	}
	return c.at.Add(time.Duration(missing / accrual * float64(c.period)))
}
