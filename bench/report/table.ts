import type { GroupSummary } from '../summary.ts'
import { ratioRows, resultRows, type Rows } from './rows.ts'

/** What a terminal shows of a group: its tables, what was odd, and who failed. */
export function groupText({ results, ratios, failures, notes }: GroupSummary): string {
  const names = [...new Set(results.map(({ scenario }) => scenario))]
  const tables = names.map((name) => {
    const compared = ratios.filter(({ scenario }) => scenario === name)
    return [
      name,
      textTable(
        resultRows(
          results.filter(({ scenario }) => scenario === name),
          compared,
        ),
      ),
      ...(compared.length === 0 ? [] : [textTable(ratioRows(compared, false))]),
      '',
    ].join('\n')
  })
  const failed = failures.map(
    ({ subject, scenario, reason }) => `FAILED: ${subject}, ${scenario}: ${reason}\n`,
  )
  return [...tables, ...notes.map((note) => `NOTE: ${note}\n`), ...failed].join('\n')
}

/** A table in Markdown. */
export function markdownTable(rows: Rows): string {
  const [head = [], ...body] = rows
  return [head, head.map((_, column) => (column === 0 ? '---' : '--:')), ...body]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n')
}

/** The same for a terminal: columns as wide as they need, numbers to the right. */
export function textTable(rows: Rows): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) => {
      const cells = row.map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      return `  ${cells.join('  ')}`.trimEnd()
    })
    .join('\n')
}
