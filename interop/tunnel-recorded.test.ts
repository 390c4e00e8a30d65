import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { frpcConfigOf } from '../src/mechanisms/frp-config/index.ts'
import { until } from './harness/until.ts'
import type { Conversation } from './tunnel/conversation.ts'
import { startClient, startServer } from './tunnel/in-process.ts'
import { LocalServices } from './tunnel/local-services.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'
import { act, type UserPorts } from './tunnel/recorded-user.ts'
import { recordedClient, type RecordedPorts, recordedServer } from './tunnel/recorded-config.ts'
import {
  conversationOf,
  readRecording,
  recordedProxies,
  type Recording,
  recordings,
  remotePort,
} from './tunnel/recording.ts'
import { Replay } from './tunnel/replay.ts'

let services: LocalServices
let ports: RecordedPorts

beforeAll(async () => {
  services = await LocalServices.start()
  const [server = 0, http = 0, https = 0, connect = 0, stcp = 0, sudp = 0, admin = 0] = await freePorts(7)
  ports = { server, http, https, connect, stcp, sudp, admin }
})

afterAll(async () => {
  await services[Symbol.asyncDispose]()
})

const names = [...recordedProxies].toSorted()
const withoutExtra = names.filter((name) => name !== 'extra')

describe.each(recordings.filter(({ real }) => real === 'client'))(
  'frpc 0.70.1 as recorded, wire $wire, mux $mux',
  (which) => {
    test('our server serves each type of its proxies, its visitors and its heartbeats', async () => {
      const recording = readRecording(which)
      const recorded = conversationOf(recording)
      await using running = await startServer(recordedServer(which, ports), randomOf(recording, 'server'))
      const { server } = running
      await using replay = new Replay({
        recording,
        act: (action, live) => {
          const isOurs = action !== 'stcp' && action !== 'sudp' && action !== 'close'
          return isOurs ? act(action, userPorts(live)) : undefined
        },
      })
      await replay.play(server.port)

      const [login] = recorded.bodies('Login')
      expect(login?.run_id).toMatch(/^[0-9a-f]{16}$/)
      expect(server.clients()).toMatchObject([
        { runId: login?.run_id, version: '0.70.1', wireVersion: which.wire, hostname: login?.hostname },
      ])
      await until('the proxy is closed', () => server.proxies().length === withoutExtra.length)
      expect(
        server
          .proxies()
          .map(({ name }) => name)
          .toSorted(),
      ).toEqual(withoutExtra)
      expectSameMessages(replay.live, recorded)
    })
  },
)

describe.each(recordings.filter(({ real }) => real === 'server'))(
  'frps 0.70.1 as recorded, wire $wire, mux $mux',
  (which) => {
    test('our client serves each type of proxy through it, visits, and keeps its heartbeats', async () => {
      const recording = readRecording(which)
      const recorded = conversationOf(recording)
      await using replay = new Replay({
        recording,
        act: (action, live) => {
          if (action === 'close') return close()
          return action === 'stcp' || action === 'sudp' ? act(action, userPorts(live)) : undefined
        },
      })
      const config = { ...ports, server: await replay.listen() }
      await using running = await startClient(
        recordedClient(which, config, services, true),
        randomOf(recording, 'client'),
      )
      const { client } = running
      const close = async (): Promise<void> => {
        expect(
          client
            .status()
            .map(({ name, phase }) => `${name} ${phase}`)
            .toSorted(),
        ).toEqual(names.map((name) => `${name} running`))
        client.update(frpcConfigOf(recordedClient(which, config, services, false), { env: {} }).config)
      }
      await replay.play()

      expect(client.runId).toBe(recorded.bodies('LoginResp')[0]?.run_id)
      expect(
        client
          .status()
          .map(({ name }) => name)
          .toSorted(),
      ).toEqual(withoutExtra)
      expectSameMessages(replay.live, recorded)
    })
  },
)

/** What our side must say as it was said when it was recorded, whatever the order between connections. */
function expectSameMessages(live: Conversation, recorded: Conversation): void {
  expect(live.bodies('Login')).toHaveLength(1)
  expect(live.bodies('LoginResp')).toMatchObject([
    { error: '', run_id: recorded.bodies('LoginResp')[0]?.run_id },
  ])
  const answers = live.bodies('NewProxyResp')
  expect(answers.filter(({ error }) => error !== '')).toEqual([])
  expect(answers.map(({ proxy_name }) => proxy_name).toSorted()).toEqual(names)
  expect(live.bodies('CloseProxy')).toEqual([{ proxy_name: 'extra' }])
  expect(live.bodies('NewVisitorConnResp')).toEqual(recorded.bodies('NewVisitorConnResp'))
  expect(live.bodies('StartWorkConn').map(startOf)).toEqual(recorded.bodies('StartWorkConn').map(startOf))
  expect(live.bodies('UDPPacket').map(({ content }) => content.toString())).toEqual(
    recorded.bodies('UDPPacket').map(({ content }) => content.toString()),
  )
  expect(live.bodies('Ping').length).toBeGreaterThan(0)
  expect(live.bodies('Pong')[0]).toEqual({ error: '' })
  // Headers of HTTP, and blocks of compression, are each side's own.
  const same = ({ proxy }: { proxy: string }): boolean =>
    proxy !== '' && proxy !== 'http' && proxy !== 'layers'
  expect(live.payloads().filter(same)).toEqual(recorded.payloads().filter(same))
}

function startOf({
  proxy_name,
  src_addr,
  error,
}: {
  proxy_name: string
  src_addr: string
  error: string
}): object {
  return { proxy_name, src_addr, error }
}

/** The randomness that ciphers of wire v2 hang on is the recorded one. */
function randomOf(recording: Recording, side: 'client' | 'server'): (length: number) => Uint8Array {
  const hello = conversationOf(recording).randoms[side]
  return (length) => (hello?.length === length ? hello : randomBytes(length))
}

function userPorts(live: Conversation): UserPorts {
  const portOf = (name: string) => (): number => remotePort(live, name)
  return {
    tcp: portOf('tcp'),
    layers: portOf('layers'),
    udp: portOf('udp'),
    http: () => ports.http,
    https: () => ports.https,
    connect: () => ports.connect,
    stcp: () => ports.stcp,
    sudp: () => ports.sudp,
  }
}
