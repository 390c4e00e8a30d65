import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FakeBalancer, FakeOrigin, Gateway } from '../src/services/media/http/http.testkit.ts'
import { makeSample } from './harness/ffmpeg.ts'
import { runProgram } from './harness/program.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'

const HEAD = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
const SECONDS = 4
/** The sample has 20 pictures a second. */
const PICTURES = 20 * SECONDS

describe('ffmpeg that plays a stream whose origin breaks off', () => {
  const folder = temporaryFolder()
  const samples = { flv: Buffer.alloc(0), ts: Buffer.alloc(0) }

  beforeAll(async () => {
    const flv = join(folder.path, 'sample.flv')
    const ts = join(folder.path, 'sample.ts')
    await makeSample(flv, SECONDS)
    await runProgram('ffmpeg', [
      '-loglevel',
      'error',
      '-nostdin',
      '-i',
      flv,
      '-c',
      'copy',
      '-f',
      'mpegts',
      ts,
    ])
    samples.flv = readFileSync(flv)
    samples.ts = readFileSync(ts)
  })

  afterAll(() => folder[Symbol.dispose]())

  test('reads HTTP-FLV on without a word, when that was between two tags', async () => {
    const { start } = videoTagFrom(samples.flv, 0.5)
    const { pictures, errors, stepsBack } = await playThroughBreak('flv', samples.flv, start)
    expect(errors).toBe('')
    expect(stepsBack).toBe(0)
    expect(pictures).toBeGreaterThan(1.4 * PICTURES)
  })

  test('loses the picture of an HTTP-FLV tag that was broken off', async () => {
    const { start, end } = videoTagFrom(samples.flv, 0.5)
    const whole = await playThroughBreak('flv', samples.flv, start)
    const broken = await playThroughBreak('flv', samples.flv, Math.round((start + end) / 2))
    expect(broken.stepsBack).toBe(0)
    expect(broken.pictures).toBeGreaterThanOrEqual(whole.pictures)
    expect(broken.errors).not.toMatch(/mismatch|invalid data found when processing input/i)
  })

  test('reads HTTP-TS on, wherever that was', async () => {
    const at = Math.floor(samples.ts.length / 376) * 188 + 77
    const { pictures, errors } = await playThroughBreak('ts', samples.ts, at)
    expect(errors).not.toMatch(/corrupt|continuity|sync/i)
    expect(pictures).toBeGreaterThan(1.4 * PICTURES)
  })
})

/** Plays the sample up to where its origin is killed, and behind that the whole sample from another run of the origin. */
async function playThroughBreak(
  extension: 'flv' | 'ts',
  sample: Buffer,
  breakAt: number,
): Promise<{ readonly pictures: number; readonly errors: string; readonly stepsBack: number }> {
  let runs = 0
  const answer = (socket: Socket): void => {
    const isFirst = ++runs === 1
    const body = isFirst ? sample.subarray(0, breakAt) : sample
    socket.write(HEAD)
    for (let at = 0; at < body.length; at += 5000) {
      const piece = body.subarray(at, at + 5000)
      socket.write(`${piece.length.toString(16)}\r\n`)
      socket.write(piece)
      // The chunk in which the first run dies is not complete either.
      if (!isFirst || at + 5000 < body.length) socket.write('\r\n')
    }
    socket.end(isFirst ? '' : '0\r\n\r\n')
  }
  await using origin = await FakeOrigin.start(answer)
  await using gateway = await Gateway.start(new FakeBalancer([origin.port]), { resumeMs: 60_000 })
  const url = `http://127.0.0.1:${gateway.port}/live/s.${extension}`
  const packets = await runProgram('ffprobe', [
    ...['-hide_banner', '-loglevel', 'error', '-show_entries', 'packet=stream_index,dts', '-of', 'json', url],
  ])
  runs = 0
  // Errors only, and then a last line of progress.
  const played = await runProgram('ffmpeg', [
    ...['-hide_banner', '-nostdin', '-loglevel', 'error', '-progress', '-', '-nostats'],
    ...['-i', url, '-map', '0:v', '-map', '0:a', '-vsync', 'passthrough', '-f', 'null', '-'],
  ])
  return {
    pictures: Math.max(...[...played.matchAll(/^frame=(\d+)$/gm)].map(([, frames]) => Number(frames))),
    errors: played.replace(/^\w+=.*\n?/gm, ''),
    stepsBack: stepsBack((JSON.parse(packets) as { readonly packets: readonly Packet[] }).packets),
  }
}

interface Packet {
  readonly stream_index: number
  readonly dts?: number
}

/** How often a packet of a stream is not behind the one before. */
function stepsBack(packets: readonly Packet[]): number {
  const last = new Map<number, number>()
  let steps = 0
  for (const { stream_index, dts = 0 } of packets) {
    if (dts < (last.get(stream_index) ?? -Infinity)) steps++
    last.set(stream_index, dts)
  }
  return steps
}

/** Where the first video tag behind a part of an FLV file starts and ends. */
function videoTagFrom(flv: Buffer, part: number): { readonly start: number; readonly end: number } {
  let start = 13
  for (;;) {
    const end = start + 15 + flv.readUIntBE(start + 1, 3)
    if (start > part * flv.length && flv[start] === 9) return { start, end }
    start = end
  }
}
