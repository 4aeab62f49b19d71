package report

import (
	"strings"
	"unicode/utf8"
)

// Table is a Markdown table, aligned so that it also reads as plain text.
type Table struct {
	head []string
	rows [][]string
}

// NewTable begins a table. The first column is text, the others are figures
// and stand to the right.
func NewTable(head ...string) *Table { return &Table{head: head} }

// Row adds a row; missing cells are empty.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// String prints the table.
func (t *Table) String() string {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	t.line(&b, width, t.head)
	for i, w := range width {
		if i == 0 {
			b.WriteString("| " + strings.Repeat("-", w) + " ")
		} else {
			b.WriteString("| " + strings.Repeat("-", w-1) + ": ")
		}
	}
	b.WriteString("|\n")
	for _, row := range t.rows {
		t.line(&b, width, row)
	}
	return b.String()
}

func (t *Table) line(b *strings.Builder, width []int, cells []string) {
	for i, w := range width {
		var cell string
		if i < len(cells) {
			cell = cells[i]
		}
		pad := strings.Repeat(" ", w-utf8.RuneCountInString(cell))
		if i == 0 {
			b.WriteString("| " + cell + pad + " ")
		} else {
			b.WriteString("| " + pad + cell + " ")
		}
	}
	b.WriteString("|\n")
}
