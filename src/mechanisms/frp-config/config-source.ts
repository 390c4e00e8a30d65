import { LineIndex } from './line-index.ts'

/** A file's content, in the shape of frp's JSON whatever its format, with the way back from a key to its line. */
export interface ConfigSource {
  /** As it was named; empty for what is in no file. */
  readonly file: string
  readonly format: 'toml' | 'yaml' | 'json' | 'ini' | 'none'
  readonly value: unknown
  readonly lines: LineIndex
  /** What the reader of an INI file should be told. */
  readonly notes: readonly string[]
}

/** A value that is in no file: from the command line or the API. */
export function valueSource(value: unknown): ConfigSource {
  return { file: '', format: 'none', value, lines: new LineIndex(), notes: [] }
}
