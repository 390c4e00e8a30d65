import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashPackets, makeSample, type PacketHashes } from './harness/ffmpeg.ts'
import { Program, runProgram } from './harness/program.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { LossyRelay } from './srt/lossy-relay.ts'
import { freeUdpPort, SrtGateway, untilBound } from './srt/srt-gateway.ts'

const quiet = ['-hide_banner', '-nostdin', '-loglevel', 'error']
/** Nothing is dropped for being late: a busy machine is no lossy network. */
const patient = 'latency=1000&tlpktdrop=no'
const patientForFfmpeg = 'latency=1000000&tlpktdrop=0'
const folder = temporaryFolder()

afterAll(() => folder[Symbol.dispose]())

describe.each([
  ['node', 0],
  ['native', 0],
  ['native', 0.05],
] as const)('a file that srt-file-transmit sends through engine-%s, with a loss of %d', (engine, loss) => {
  test('arrives at the origin as it was', async () => {
    // It names the stream by the file, but at times it calls before it has said so to its library.
    const name = `file-${engine}-${loss * 100}`
    // What is lost is sent again after a pause.
    const size = loss > 0 ? 600_000 : 3_000_000
    await using gateway = await SrtGateway.start(engine, { defaultStreamId: name })
    await using relay = await LossyRelay.start({ toPort: gateway.port, loss })
    const originPort = await freeUdpPort()
    await gateway.route(name, originPort, '{stream}')
    const received = join(folder.path, `received-${name}`)
    mkdirSync(received)
    const source = join(folder.path, name)
    writeFileSync(source, randomBytes(size))
    await using _origin = srt('srt-file-transmit', [
      `srt://127.0.0.1:${originPort}?mode=listener`,
      `file://${received}`,
    ])
    await untilBound(originPort)
    await runProgram('srt-file-transmit', [`file://${source}`, `srt://127.0.0.1:${relay.port}`])
    const arrived = join(received, name)
    await until('the whole file', () => existsSync(arrived) && statSync(arrived).size === size)
    expect(sha256(arrived)).toBe(sha256(source))
    await until('the session to end', () => gateway.service.listSessions().length === 0)
    expect(gateway.forwarded).toBeGreaterThan(size / 1500)
    if (loss > 0) expect(relay.lost).toBeGreaterThan(5)
  }, 60_000)
})

describe('a live stream', () => {
  const sample = join(folder.path, 'sample.ts')
  let sent: PacketHashes

  beforeAll(async () => {
    await makeSample(sample, 20)
    sent = await hashPackets(sample)
  })

  describe.each([
    ['node', 'plain', 0],
    ['native', 'plain', 0],
    ['native', 'encrypted', 0],
    ['native', 'encrypted', 0.05],
  ] as const)('through engine-%s, %s, with a loss of %d', (engine, how, loss) => {
    const secret = how === 'encrypted' ? '&passphrase=between-the-two' : ''

    test('is published by ffmpeg and played by ffmpeg, every packet as it was', async () => {
      await using gateway = await SrtGateway.start(engine)
      await using stage = await Stage.start(gateway, secret, loss)
      const received = await hashPackets(
        `${stage.url}?mode=caller&${patientForFfmpeg}&streamid=read:live/out${secret}`,
        4,
      )
      expect(received.video.length).toBeGreaterThan(60)
      expect(received.audio.length).toBeGreaterThan(120)
      expectStretchOf(sent.video, received.video)
      expectStretchOf(sent.audio, received.audio)
      if (loss > 0) expect(stage.relay.lost).toBeGreaterThan(20)
      const sessions = gateway.service.listSessions()
      expect(sessions.find(({ role }) => role === 'publish')?.bytesIn).toBeGreaterThan(100_000)
    }, 60_000)

    test('is played by srt-live-transmit', async () => {
      await using gateway = await SrtGateway.start(engine)
      await using stage = await Stage.start(gateway, secret, loss)
      const played = join(folder.path, `played-${engine}-${how}-${loss}.ts`)
      // It writes to its standard output, which is a shell's to redirect.
      const url = `${stage.url}?mode=caller&${patient}&streamid=#!::r=live/out,m=request${secret}`
      const player = new Program('sh', ['-c', `exec srt-live-transmit -q '${url}' file://con > ${played}`])
      try {
        await until('some seconds of media', () => existsSync(played) && statSync(played).size > 300_000)
      } finally {
        await player.stop()
      }
      const received = await hashPackets(played)
      expect(received.video.length).toBeGreaterThan(30)
      // It begins and ends within a frame.
      expectStretchOf(sent.video, received.video.slice(1, -1))
    }, 60_000)

    /** ffmpeg as the publisher of `live/in`, and an origin that gives it out as `live/out`. */
    class Stage implements AsyncDisposable {
      readonly relay: LossyRelay
      readonly #programs: readonly Program[]

      static async start(gateway: SrtGateway, secret: string, loss: number): Promise<Stage> {
        const [inPort, outPort] = [await freeUdpPort(), await freeUdpPort()]
        await gateway.route('in', inPort)
        await gateway.route('out', outPort)
        const relay = await LossyRelay.start({ toPort: gateway.port, loss })
        const origin = srt('srt-live-transmit', [
          `srt://127.0.0.1:${inPort}?mode=listener&${patient}${secret}`,
          `srt://127.0.0.1:${outPort}?mode=listener&${patient}${secret}`,
        ])
        await untilBound(inPort)
        const publisher = new Program('ffmpeg', [
          ...quiet,
          ...['-re', '-stream_loop', '-1', '-i', sample, '-c', 'copy', '-f', 'mpegts'],
          ...['-srt_streamid', '#!::r=live/in,m=publish'],
          `srt://127.0.0.1:${relay.port}?mode=caller&${patientForFfmpeg}&pkt_size=1316${secret}`,
        ])
        const stage = new Stage(relay, [publisher, origin])
        try {
          await until('the publisher to be there', () => gateway.service.listSessions().length === 1)
          await untilBound(outPort)
          return stage
        } catch (error) {
          await stage[Symbol.asyncDispose]()
          throw new Error(publisher.output + origin.output, { cause: error })
        }
      }

      private constructor(relay: LossyRelay, programs: readonly Program[]) {
        this.relay = relay
        this.#programs = programs
      }

      get url(): string {
        return `srt://127.0.0.1:${this.relay.port}`
      }

      async [Symbol.asyncDispose](): Promise<void> {
        for (const program of this.#programs) await program.stop()
        await this.relay[Symbol.asyncDispose]()
      }
    }
  })

  test('with the wrong passphrase is refused, in the words of the origin', async () => {
    await using gateway = await SrtGateway.start('native')
    const port = await freeUdpPort()
    await gateway.route('in', port)
    await using _origin = srt('srt-live-transmit', [
      `srt://127.0.0.1:${port}?mode=listener&passphrase=the-right-one`,
      'file://con',
    ])
    await untilBound(port)
    const url = `srt://127.0.0.1:${gateway.port}?mode=caller&passphrase=the-wrong-one&streamid=publish:live/in`
    await using caller = srt('srt-live-transmit', [url, 'file://con'])
    const said = await caller.line((line) => /reject/i.exec(line)?.input)
    expect(said).toMatch(/password|secret|passphrase/i)
    expect(gateway.service.listSessions()).toEqual([])
  })
})

function srt(command: string, args: readonly string[]): Program {
  return new Program(command, ['-v', ...args])
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** Expects a contiguous stretch of a sequence that is sent over and over. Hashes of a sample occur once each. */
function expectStretchOf(whole: readonly string[], part: readonly string[]): void {
  const start = whole.indexOf(part[0] ?? '')
  expect(start).toBeGreaterThanOrEqual(0)
  expect(part).toEqual(part.map((_hash, index) => whole[(start + index) % whole.length]))
}
