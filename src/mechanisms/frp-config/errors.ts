import { SluiceError } from '../../foundation/errors.ts'

/** Codes of `FrpConfigError`, with what to do about each. */
export const FrpConfigErrorCode = {
  /** A file or a folder of `includes` is not there or may not be read; check the path. */
  unreadable: 'FRP_CONFIG_UNREADABLE',
  /** A `{{ }}` action of the file cannot be carried out; the message names line and column. */
  template: 'FRP_CONFIG_TEMPLATE',
  /** The file is none of TOML, YAML, JSON and INI; the message names the line. */
  syntax: 'FRP_CONFIG_SYNTAX',
  /** A key or a value is not allowed; the message names both and what is allowed. */
  invalid: 'FRP_CONFIG_INVALID',
  /** frp has it, this program does not; remove the setting. */
  unsupported: 'FRP_CONFIG_UNSUPPORTED',
  /** A setting that starts programs; allow it with `--allow-unsafe` if the file is yours. */
  unsafe: 'FRP_CONFIG_UNSAFE',
} as const

export type FrpConfigErrorCode = (typeof FrpConfigErrorCode)[keyof typeof FrpConfigErrorCode]

/** One thing that is wrong with a configuration of frps or frpc. */
export interface FrpConfigProblem {
  readonly code: FrpConfigErrorCode
  /** The file, as it was named; empty for what comes from the command line or the API. */
  readonly file: string
  /** 1-based; absent where the key is not in the file. */
  readonly line?: number | undefined
  /** From the root of the file, for instance `proxies[0].remotePort`; empty where it is about the whole file. */
  readonly key: string
  /** What is there, shortened; absent for a missing or an unknown key, and for secrets. */
  readonly value?: string | undefined
  /** What is wrong and what is allowed. */
  readonly message: string
}

/** A configuration that cannot be used. The message has a line for each problem; the code is the first one's. */
export class FrpConfigError extends SluiceError {
  override readonly name = 'FrpConfigError'
  readonly problems: readonly FrpConfigProblem[]

  constructor(problems: readonly [FrpConfigProblem, ...FrpConfigProblem[]], cause?: unknown) {
    super(problems[0].code, problems.map(describeProblem).join('\n'), {
      side: 'self',
      retryable: false,
      cause,
    })
    this.problems = problems
  }
}

function describeProblem({ file, line, key, value, message }: FrpConfigProblem): string {
  const place = file !== '' && line !== undefined ? `${file}:${line}` : file
  const subject = value === undefined ? key : `${key} = ${value}`
  return [place, subject, message].filter((part) => part !== '').join(': ')
}
