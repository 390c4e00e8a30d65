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
    .configureOutput({ writeErr: (text) => void process.stdout.write(text) })
    .option('--strict-config <boolean>', 'whether settings that are not known are errors', 'true')
    .option(
      '--allow-unsafe <features>',
      'features that are off otherwise: TokenSourceExec',
      (value: string, before: string[]) => [...before, ...value.split(',')],
      [],
    )
    .option('--grace <seconds>', 'how long user connections may go on after SIGTERM', '0')
}

/** The options of a command, where frp takes them: at it, or at a command that it is part of. The nearest counts. */
export function optionsOf(command: Command): CommonOptions & Readonly<Record<string, unknown>> {
  const { parent } = command
  const own = command.opts<CommonOptions>()
  if (parent === null) return { ...own }
  const given = Object.entries(own).filter(([name]) => command.getOptionValueSource(name) !== 'default')
  return { ...own, ...optionsOf(parent), ...Object.fromEntries(given) }
}

export function loadOptions({ strictConfig, allowUnsafe = [] }: CommonOptions): FrpConfigLoadOptions {
  return { env: process.env, strict: !/^(?:0|f|false)$/i.test(strictConfig ?? 'true'), allowUnsafe }
}

/** @throws TypeError for what is no number of seconds */
export function graceMs({ grace }: CommonOptions): number {
  if (/^\d{1,6}$/.test(grace)) return Number(grace) * 1000
  throw new TypeError(`--grace ${grace}: must be a number of seconds`)
}
