/** A table for a terminal: columns as wide as what is in them, numbers to the right. */
export function tableText(
  titles: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const texts = [titles, ...rows].map((row) => row.map((cell) => plainText(String(cell))))
  const widths = titles.map((_, column) => Math.max(...texts.map((row) => row[column]?.length ?? 0)))
  const isNumeric = titles.map(
    (_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'),
  )
  const lines = texts.map((row) =>
    row
      .map((cell, column) =>
        isNumeric[column] === true ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
  return `${lines.join('\n')}\n`
}

/** What others named is shown without what a terminal would act on. */
export function plainText(text: string): string {
  // oxlint-disable-next-line no-control-regex -- just those
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd')
}

/** The same as JSON, which escapes but a part of it. */
export function plainJson(value: unknown): string {
  const hex = (character: string): string => character.codePointAt(0)?.toString(16).padStart(4, '0') ?? ''
  return JSON.stringify(value, undefined, 2).replaceAll(
    /[\u007f-\u009f]/g,
    (character) => `\\u${hex(character)}`,
  )
}

/** A time that has passed, to two units: `3d 4h`, `5m 6s`. */
export function durationText(seconds: number): string {
  const units = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3600) % 24],
    ['m', Math.floor(seconds / 60) % 60],
    ['s', Math.floor(seconds) % 60],
  ] as const
  const first = units.findIndex(([, count]) => count > 0)
  const shown = first < 0 ? units.slice(-1) : units.slice(first, first + 2)
  return shown.map(([unit, count]) => `${count}${unit}`).join(' ')
}
