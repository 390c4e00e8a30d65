/** What ends the rendering of a template, with its place in the text. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError'
  /** Offset in the text; line and column are counted from it when somebody asks. */
  readonly at: number

  constructor(message: string, at: number) {
    super(message)
    this.at = at
  }
}

/** Line and column of an offset, both from 1; columns count characters as editors do. */
export function placeOf(text: string, at: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, at)
  const lineStart = before.lastIndexOf('\n') + 1
  return { line: before.split('\n').length, column: at - lineStart + 1 }
}
