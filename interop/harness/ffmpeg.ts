import { Program, runProgram } from './program.ts'

/** Payload hashes of the packets of one stream, in order. */
export interface PacketHashes {
  readonly video: readonly string[]
  readonly audio: readonly string[]
}

const quiet = ['-hide_banner', '-nostdin', '-loglevel', 'error']

/** Makes an FLV file with a moving test picture in H.264, a key frame each half second, and a tone in AAC. */
export async function makeSample(path: string, seconds: number): Promise<void> {
  await runProgram('ffmpeg', [
    ...quiet,
    ...['-f', 'lavfi', '-i', `testsrc2=size=320x240:rate=20:duration=${seconds}`],
    ...['-f', 'lavfi', '-i', `sine=frequency=440:sample_rate=44100:duration=${seconds}`],
    ...[
      '-c:v',
      'libx264',
      '-preset',
      'ultrafast',
      '-profile:v',
      'baseline',
      '-pix_fmt',
      'yuv420p',
      '-g',
      '10',
    ],
    ...['-c:a', 'aac', '-b:a', '64k', '-ac', '2', '-y', path],
  ])
}

/** Publishes a file over and over, at its own pace and without touching its packets, until it is stopped. */
export function publishByRtmp(path: string, url: string): Program {
  return new Program('ffmpeg', [
    ...quiet,
    ...['-re', '-stream_loop', '-1', '-i', path, '-c', 'copy', '-f', 'flv', url],
  ])
}

/** Reads an address for some seconds of media and gives the payload hashes of the packets. */
export async function hashPackets(url: string, seconds?: number): Promise<PacketHashes> {
  const output = await runProgram('ffmpeg', [
    ...quiet,
    ...['-i', url, ...(seconds === undefined ? [] : ['-t', String(seconds)])],
    ...['-map', '0:v', '-map', '0:a', '-c', 'copy', '-f', 'framehash', '-hash', 'md5', '-'],
  ])
  // Lines are `stream, dts, pts, duration, size, hash`; others begin with #.
  const packets = output
    .split('\n')
    .filter((line) => /^\d/.test(line))
    .map((line) => line.split(',').map((field) => field.trim()))
  const ofStream = (stream: string): readonly string[] =>
    packets.filter((fields) => fields[0] === stream).map((fields) => fields[5] ?? '')
  return { video: ofStream('0'), audio: ofStream('1') }
}

/** What ffprobe says of the streams at an address: codec names by kind. */
export async function probeCodecs(url: string): Promise<Readonly<Record<string, string>>> {
  const output = await runProgram('ffprobe', [
    ...['-hide_banner', '-loglevel', 'error', '-show_entries', 'stream=codec_type,codec_name'],
    ...['-of', 'json', url],
  ])
  const { streams } = JSON.parse(output) as {
    readonly streams: readonly { readonly codec_type: string; readonly codec_name: string }[]
  }
  return Object.fromEntries(streams.map((stream) => [stream.codec_type, stream.codec_name]))
}
