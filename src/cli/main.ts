#!/usr/bin/env node
import { Command } from 'commander'
import { SluiceError } from '../foundation/errors.ts'
import { version } from '../gateway/version.ts'
import { check } from './check.ts'
import { demo } from './demo.ts'
import { run } from './run.ts'
import { schema } from './schema.ts'

const program = new Command('sluice')
  .description(
    'A gateway for live media: WHIP, WHEP, RTMP and HTTP-FLV at the edge, each stream led to its origin.',
  )
  .version(version)

program
  .command('run')
  .description('run the gateway')
  .option(
    '-c, --config <file>',
    'configuration in TOML, YAML or JSON (default: sluice.toml here, if there is one)',
  )
  .action(run)

program
  .command('demo')
  .description('run the gateway with an embedded origin and a web page to publish and watch')
  .option('-c, --config <file>', 'configuration in TOML, YAML or JSON')
  .action(demo)

program
  .command('check')
  .description('check a configuration file and say what is wrong with it')
  .option('-c, --config <file>', 'the file', 'sluice.toml')
  .action(check)

program
  .command('schema')
  .description('print the JSON Schema of the configuration, for editors')
  .action(schema)

try {
  await program.parseAsync()
} catch (error) {
  // What we throw on purpose reads as one line; anything else is a bug and keeps its stack.
  process.stderr.write(
    error instanceof SluiceError
      ? `sluice: ${error.code}: ${error.message}\n`
      : `sluice: ${error instanceof Error ? error.stack : String(error)}\n`,
  )
  process.exitCode = 1
}
