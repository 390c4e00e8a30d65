import { join } from 'node:path'
import { runProgram } from '../harness/program.ts'
import { repository } from '../harness/repository.ts'
import type { TurnServerUnderTest, TurnTransport } from './turn-server.ts'

/** How two agents of aioice fared that reach each other through relays only. */
export interface AioiceReport {
  /** The kinds of all candidates that they found. */
  readonly candidates: readonly string[]
  /** How many messages came as they were, to the second agent and back. */
  readonly there: number
  readonly back: number
}

const folder = join(repository, 'interop/turn')

/** Runs them to their end; `tools/prepare.mjs --test` has installed what they need. @throws Error when they do not connect */
export async function runAioicePair(
  { ports, username, password, certificateFile }: TurnServerUnderTest,
  transport: TurnTransport,
  messages: number,
): Promise<AioiceReport> {
  const output = await runProgram(
    join(folder, 'bin/python/bin/python'),
    [
      join(folder, 'aioice/relay_pair.py'),
      ...['--server', `127.0.0.1:${ports[transport]}`, '--transport', transport],
      ...['--username', username, '--password', password, '--messages', `${messages}`],
    ],
    { env: { SSL_CERT_FILE: certificateFile } },
  )
  return JSON.parse(output) as AioiceReport
}
