import { SluiceError } from '../../foundation/errors.ts'

/**
 * - `CONFIG_UNREADABLE`: the file is not there or may not be read; check the path.
 * - `CONFIG_SYNTAX`: the file is not valid TOML, YAML or JSON; the message names line and column.
 * - `CONFIG_INVALID`: keys or values are not allowed; `problems` names each with what is allowed.
 */
export type ConfigErrorCode = 'CONFIG_UNREADABLE' | 'CONFIG_SYNTAX' | 'CONFIG_INVALID'

/** One thing that is wrong in a configuration file. */
export interface ConfigProblem {
  /** The key from the root, for instance `media.rtmp.listen[0]`. */
  readonly key: string
  /** 1-based line of the file; absent where the key is not in it. */
  readonly line?: number
  /** What is there, shortened; absent for a missing or an unknown key, and for secrets. */
  readonly value?: string
  /** What is wrong and what is allowed. */
  readonly message: string
}

/** A configuration that cannot be used. The message holds one line for each problem. */
export class ConfigError extends SluiceError {
  override readonly name = 'ConfigError'
  readonly problems: readonly ConfigProblem[]

  constructor(code: ConfigErrorCode, file: string, problems: readonly ConfigProblem[], cause?: unknown) {
    super(code, problems.map((problem) => describeProblem(file, problem)).join('\n'), {
      side: 'self',
      retryable: false,
      cause,
    })
    this.problems = problems
  }
}

function describeProblem(file: string, problem: ConfigProblem): string {
  const place = problem.line === undefined ? file : `${file}:${problem.line}`
  const subject = problem.value === undefined ? problem.key : `${problem.key} = ${problem.value}`
  return subject === '' ? `${place}: ${problem.message}` : `${place}: ${subject}: ${problem.message}`
}
