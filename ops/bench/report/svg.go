package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// Geometry of a chart, in pixels.
const (
	chartWidth  = 860
	labelWidth  = 330
	valueWidth  = 170
	barHeight   = 13
	figureSpace = 12
	headHeight  = 58
)

// colours are told apart without seeing red or green, and in print.
var colours = []string{"#0b6e99", "#e69f00", "#9aa0a6", "#8f3b76"}

// SVG draws the group: a block of bars for each figure, with lengths relative to the figure's longest, because each has a
// unit of its own. A thin line behind a bar reaches to p99.
func (g *Group) SVG() string {
	var body bytes.Buffer
	y := headHeight
	for _, f := range g.Figures {
		if f.Bare || len(f.Values) == 0 {
			continue
		}
		y = f.draw(&body, g.Columns, y)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		chartWidth, y+8, chartWidth, y+8)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n"+`<text x="12" y="22" font-size="15" font-weight="bold">%s</text>`+"\n", escape(g.Title))
	x := 12
	for i, c := range g.Columns {
		fmt.Fprintf(&b, `<rect x="%d" y="34" width="11" height="11" fill="%s"/><text x="%d" y="44">%s</text>`+"\n",
			x, colours[i%len(colours)], x+16, escape(c))
		x += 40 + 7*len(c)
	}
	b.Write(body.Bytes())
	b.WriteString("</svg>\n")
	return b.String()
}

func (f *Figure) draw(b *bytes.Buffer, columns []string, y int) int {
	var longest float64
	for _, v := range f.Values {
		longest = max(longest, v.Median, v.P99)
	}
	length := func(v float64) float64 {
		if longest <= 0 {
			return 0
		}
		return max(v, 0) / longest * (chartWidth - labelWidth - valueWidth)
	}
	fmt.Fprintf(b, `<text x="12" y="%d">%s</text>`+"\n", y+barHeight-2, escape(f.Name+", "+f.Unit))
	for i, c := range columns {
		v, ok := f.Values[c]
		if !ok {
			continue
		}
		reach := max(length(v.Median), 1)
		if v.N > 0 {
			reach = max(reach, length(v.P99))
			fmt.Fprintf(b, `<line x1="%d" x2="%.1f" y1="%d" y2="%d" stroke="#555555"/>`+"\n", labelWidth, labelWidth+reach, y+barHeight/2, y+barHeight/2)
		}
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, y, max(length(v.Median), 1), barHeight-2, colours[i%len(colours)])
		fmt.Fprintf(b, `<text x="%.1f" y="%d" font-size="11">%s</text>`+"\n", labelWidth+reach+5, y+barHeight-3, escape(f.cell(columns[0], c, i > 0)))
		y += barHeight
	}
	return y + figureSpace
}

func escape(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer does not fail
	return b.String()
}
