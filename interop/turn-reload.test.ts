import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { type EchoPeer, openUdpEcho } from './turn/echo-peer.ts'
import { buildPionClient, type RunningRelay, startRelay } from './turn/pion-client.ts'
import { type SluiceTurnServer, startSluice } from './turn/sluice-server.ts'
import { type TurnServerSettings, writeSettings } from './turn/turn-server.ts'

const folders = [temporaryFolder(), temporaryFolder()] as const
let before: TurnServerSettings
let after: TurnServerSettings
let server: SluiceTurnServer
let peer: EchoPeer

beforeAll(async () => {
  await buildPionClient()
  before = await writeSettings(folders[0].path)
  after = { ...(await writeSettings(folders[1].path)), password: 'another' }
  server = await startSluice(before)
  peer = await openUdpEcho()
}, 300_000)

afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await peer[Symbol.asyncDispose]()
  for (const folder of folders) folder[Symbol.dispose]()
})

beforeEach(async () => {
  await server.reload(before)
})

describe.for(['udp', 'tcp', 'tls'] as const)('a reload of certificate and password over %s', (transport) => {
  test('loses nothing of a relay that is running', async () => {
    await using relay = await startRelay({ ...before, ...server }, transport, peer, { intervalMs: 1 })
    await untilEchoes(200)
    await server.reload(after)
    await untilEchoes(200)
    const report = await relay.finish()
    expect(report).toMatchObject({ received: report.sent, lost: 0, broken: 0, twice: 0 })
  })

  test('holds for new clients, and not for those that know the old ones only', async () => {
    await server.reload(after)
    await using relay = await startRelay({ ...after, ...server }, transport, peer)
    await untilEchoes(20)
    expect(await relay.finish()).toMatchObject({ lost: 0 })

    await expect(start({ ...after, password: before.password })).rejects.toThrow(/401|Unauthorized/)
    if (transport === 'tls') {
      const { certificateFile } = before
      await expect(start({ ...after, certificateFile })).rejects.toThrow(
        'certificate signed by unknown authority',
      )
    }
  })

  /** A relay that is not expected to start. */
  function start(settings: TurnServerSettings): Promise<RunningRelay> {
    return startRelay({ ...settings, ...server }, transport, peer)
  }

  /** Waits until so many more datagrams have been echoed. */
  async function untilEchoes(more: number): Promise<void> {
    const wanted = peer.echoed.packets + more
    await until(`${more} echoes`, () => peer.echoed.packets >= wanted)
  }
})
