import { parseArgs } from 'node:util'

/** What the command line asks for. */
export interface Options {
  /** Few short rounds, and only one of scenarios on which no target hangs. */
  readonly isQuick: boolean
  readonly rounds: number
  /** Length of a run that is measured, and of the same load before it, in which the subject warms up. */
  readonly seconds: number
  readonly warmupSeconds: number
  /** Parts of names of the scenarios and subjects to run; empty is all. */
  readonly only: string
  readonly subject: string
  /** Where to write the figures beside `results/`. */
  readonly json?: string
  /** Whether the figures become `docs/performance.md`. */
  readonly isPublished: boolean
}

export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string', default: '' },
      subject: { type: 'string', default: '' },
      json: { type: 'string' },
      publish: { type: 'boolean', default: false },
    },
  })
  const { quick: isQuick, only, subject, json, publish: isPublished } = values
  return {
    isQuick,
    rounds: positive('rounds', values.rounds, isQuick ? 3 : 5),
    seconds: positive('seconds', values.seconds, isQuick ? 0.6 : 2),
    warmupSeconds: isQuick ? 0.25 : 0.5,
    only,
    subject,
    ...(json === undefined ? {} : { json }),
    isPublished,
  }
}

function positive(name: 'rounds' | 'seconds', text: string | undefined, byDefault: number): number {
  const value = text === undefined ? byDefault : Number(text)
  if (!(value > 0) || (name === 'rounds' && !Number.isInteger(value))) {
    throw new Error(`--${name} ${text}: ${name === 'rounds' ? 'a whole number' : 'a number'} over 0`)
  }
  return value
}
