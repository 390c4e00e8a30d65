/**
 * Reads a `.env` file as the SRS proxy does: `KEY=VALUE` lines, `export ` before them, `#` comments, single quotes (as it
 * stands), double quotes (`\n \r \" \\`), and ` #` behind a value without quotes. A line without `=` means nothing.
 * The last of several lines of one name holds.
 */
export function parseDotEnv(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const [, name, rest] = /^\s*(?:export\s+)?([^\s=#][^\s=]*)\s*=\s*(.*)$/s.exec(line) ?? []
    if (name !== undefined && rest !== undefined) values.set(name, valueOf(rest.trimEnd()))
  }
  return values
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', '"': '"', '\\': '\\' }

function valueOf(text: string): string {
  const single = /^'([^']*)'/.exec(text)?.[1]
  if (single !== undefined) return single
  const double = /^"((?:[^"\\]|\\.)*)"/.exec(text)?.[1]
  if (double !== undefined)
    return double.replace(/\\(.)/g, (whole, letter: string) => ESCAPES[letter] ?? whole)
  const comment = text.search(/(?:^|\s)#/)
  return (comment === -1 ? text : text.slice(0, comment)).trimEnd()
}
