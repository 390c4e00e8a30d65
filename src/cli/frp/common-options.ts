import type { Command } from 'commander'
import type { FrpConfigLoadOptions } from '../../mechanisms/frp-config/index.ts'

/** Options of both commands that are no settings. */
export interface CommonOptions {
  readonly config?: string
  readonly strictConfig?: string
  readonly allowUnsafe?: readonly string[]
  readonly grace: string
}

export function addCommonOptions(command: Command): Command {
  return command
    .option('--strict-config <boolean>', 'whether settings that are not known are errors', 'true')
    .option(
      '--allow-unsafe <features>',
      'features that are off otherwise: TokenSourceExec',
      (value: string, before: string[]) => [...before, ...value.split(',')],
      [],
    )
    .option('--grace <seconds>', 'how long user connections may go on after SIGTERM', '0')
}

export function loadOptions({ strictConfig, allowUnsafe = [] }: CommonOptions): FrpConfigLoadOptions {
  return { env: process.env, strict: !/^(?:0|f|false)$/i.test(strictConfig ?? 'true'), allowUnsafe }
}

/** @throws TypeError for what is no number of seconds */
export function graceMs({ grace }: CommonOptions): number {
  if (/^\d{1,6}$/.test(grace)) return Number(grace) * 1000
  throw new TypeError(`--grace ${grace}: must be a number of seconds`)
}
