import { once } from 'node:events'
import { createServer } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { freePort } from '../../foundation/free-port.testkit.ts'
import { TurnServer } from '../../services/turn/index.ts'
import {
  configText,
  FakeSource,
  keptLog,
  otherCertificate,
  selfSignedListener,
  testCertificate,
} from './stunnerd.testkit.ts'
import { Stunnerd } from './stunnerd.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

/** The daemon with its relay, on TLS. */
async function open(listeners: readonly object[]) {
  const source = new FakeSource(configText({ listeners }))
  const log = keptLog('all:INFO')
  const daemon = new Stunnerd({
    source,
    createServer: (options) => new TurnServer({ ...options, engine: 'node' }),
    log,
    id: 'ns/gw',
    env: {},
  })
  closing.push(() => daemon.close())
  await daemon.start()
  return {
    log,
    reload: async (changed: readonly object[]) => {
      source.text = configText({ listeners: changed })
      await daemon.reload()
    },
  }
}

async function connected(port: number): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
  socket.on('error', () => {})
  closing.push(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

/** Asks for the own address; gives the type of the answer. */
async function binding(socket: TLSSocket): Promise<number> {
  socket.write(Buffer.from(`000100002112a442${'01'.repeat(12)}`, 'hex'))
  const [answer]: Buffer[] = await once(socket, 'data')
  return answer?.readUInt16BE(0) ?? 0
}

function certificateOf(socket: TLSSocket): string {
  return socket.getPeerX509Certificate()?.toString() ?? ''
}

const sameText = (pem: string) => pem.replaceAll(/\s/g, '')

describe('stunnerd with its relay', () => {
  it('puts another certificate in place under the connections that there are', async () => {
    const port = await freePort()
    const { reload } = await open([selfSignedListener(testCertificate, { port })])
    const before = await connected(port)
    expect(sameText(certificateOf(before))).toBe(sameText(testCertificate.cert))
    await reload([selfSignedListener(otherCertificate, { port })])
    expect(await binding(before)).toBe(0x0101)
    expect(sameText(certificateOf(await connected(port)))).toBe(sameText(otherCertificate.cert))
  })

  it('opens that listener anew whose port has changed, and no other', async () => {
    const [one, two, three] = [await freePort(), await freePort(), await freePort()]
    const { reload, log } = await open([
      selfSignedListener(testCertificate, { name: 'stays', port: one }),
      selfSignedListener(testCertificate, { name: 'moves', port: two }),
    ])
    const stays = await connected(one)
    const moves = await connected(two)
    const ended = once(moves, 'close')
    await reload([
      selfSignedListener(testCertificate, { name: 'stays', port: one, address: '127.0.0.1', routes: [] }),
      selfSignedListener(testCertificate, { name: 'moves', port: three }),
    ])
    await ended
    expect(log.lines.at(-1)).toContain('restarted=["moves"]')
    expect(await binding(stays)).toBe(0x0101)
    expect(await binding(await connected(three))).toBe(0x0101)
  })

  it('goes on as before when a port is taken', async () => {
    const port = await freePort()
    const taken = createServer().listen(0)
    closing.push(() => taken.close())
    await once(taken, 'listening')
    const address = taken.address()
    const takenPort = typeof address === 'object' && address !== null ? address.port : 0
    const { reload, log } = await open([selfSignedListener(testCertificate, { port })])
    const socket = await connected(port)
    await reload([
      selfSignedListener(otherCertificate, { port }),
      selfSignedListener(otherCertificate, { name: 'more', port: takenPort }),
    ])
    expect(log.lines.at(-1)).toMatch(/configuration refused, the one before it stays code=NET_PORT_TAKEN/)
    expect(await binding(socket)).toBe(0x0101)
    expect(sameText(certificateOf(await connected(port)))).toBe(sameText(testCertificate.cert))
  })
})
