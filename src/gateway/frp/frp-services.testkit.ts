import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { systemClock } from '../../foundation/clock.ts'
import type { Lifecycle } from '../../foundation/lifecycle.ts'
import { NodeDatapath } from '../../mechanisms/datapath/index.ts'
import {
  type FrpcConfig,
  frpcConfigOf,
  type FrpsConfig,
  frpsConfigOf,
} from '../../mechanisms/frp-config/index.ts'
import { createLogger, Registry } from '../../mechanisms/telemetry/index.ts'
import { freePort } from '../../foundation/free-port.testkit.ts'
import { FrpsService, type TunnelParts } from './frps-service.ts'

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly [field: string]: unknown
}

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** What services stand on, and what they log, until the end of the test. */
export async function makeParts(): Promise<{
  readonly parts: TunnelParts
  readonly lines: readonly LogLine[]
}> {
  const lines: LogLine[] = []
  const datapath = new NodeDatapath({ clock: systemClock })
  await datapath.start()
  closers.push(() => datapath.close())
  const logger = createLogger({
    level: 'info',
    stream: { write: (line) => void lines.push(JSON.parse(line) as LogLine) },
  })
  return {
    parts: { datapath, logger, registry: new Registry(), clock: systemClock, joiner: undefined },
    lines,
  }
}

/** Starts a service, and closes it at the end of the test. */
export async function run<Service extends Lifecycle>(service: Service): Promise<Service> {
  closers.push(() => service.close())
  await service.start()
  return service
}

/** A server on loopback, and its port. */
export async function runServer(parts: TunnelParts): Promise<number> {
  const { port } = await run(
    new FrpsService(serverConfig({ bindPort: await freePort(), auth: { token: 'secret' } }), parts),
  )
  if (port === undefined) throw new Error('it does not listen')
  return port
}

export function serverConfig(raw: Readonly<Record<string, unknown>>): FrpsConfig {
  return frpsConfigOf({ bindAddr: '127.0.0.1', ...raw }, { env: {} }).config
}

/** A client of a server on loopback, with its token. */
export function clientConfig(serverPort: number, raw: Readonly<Record<string, unknown>> = {}): FrpcConfig {
  return frpcConfigOf({ serverAddr: '127.0.0.1', serverPort, auth: { token: 'secret' }, ...raw }, { env: {} })
    .config
}

/** A folder until the end of the test. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-frp-'))
  closers.push(() => rmSync(folder, { recursive: true }))
  return folder
}
