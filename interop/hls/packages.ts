import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program, runProgram } from '../harness/program.ts'

/** How media is packaged. `single`: all segments are byte ranges of one file. `renditions`: video and sound have playlists of their own, below a multivariant one. */
export type PackageKind = 'ts' | 'fmp4' | 'single' | 'encrypted' | 'renditions' | 'dash'

const quiet = ['-hide_banner', '-nostdin', '-loglevel', 'error']

/** Packages a whole file into a directory, its packets as they are. The first playlist is `index.m3u8`, or `index.mpd`. */
export async function packageFile(kind: PackageKind, sample: string, directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true })
  if (kind === 'encrypted') writeKey(directory)
  const how = formats[kind]
  const playlist = kind === 'dash' ? ['-f', 'dash', 'index.mpd'] : ['-f', 'hls', ...how]
  await runProgram(
    'ffmpeg',
    [
      ...[...quiet, '-i', sample, '-map', '0:v', '-map', '0:a', '-c', 'copy'],
      ...(kind === 'dash' ? how : ['-hls_time', '1', '-hls_playlist_type', 'vod']),
      ...playlist,
    ],
    { cwd: directory },
  )
}

/** Packages a file over and over at its own pace, until it is stopped: a live stream whose playlist is `name.m3u8`. */
export function packageLive(kind: 'ts' | 'fmp4', sample: string, directory: string, name: string): Program {
  mkdirSync(directory, { recursive: true })
  return new Program(
    'ffmpeg',
    [
      ...[...quiet, '-re', '-stream_loop', '-1', '-i', sample, '-c', 'copy', '-f', 'hls', '-hls_time', '1'],
      // What has left the playlist is kept for players that lag behind.
      ...['-hls_list_size', '6', '-hls_flags', 'delete_segments', '-hls_delete_threshold', '60'],
      ...['-hls_segment_filename', `${name}-%d.${kind === 'ts' ? 'ts' : 'm4s'}`],
      ...(kind === 'ts' ? [] : ['-hls_segment_type', 'fmp4', '-hls_fmp4_init_filename', `${name}-init.mp4`]),
      `${name}.m3u8`,
    ],
    { cwd: directory },
  )
}

const formats: Readonly<Record<PackageKind, readonly string[]>> = {
  ts: ['-hls_segment_filename', 'part%d.ts', 'index.m3u8'],
  fmp4: ['-hls_segment_type', 'fmp4', '-hls_segment_filename', 'part%d.m4s', 'index.m3u8'],
  single: ['-hls_segment_type', 'fmp4', '-hls_flags', 'single_file', 'index.m3u8'],
  encrypted: ['-hls_key_info_file', 'key-info', '-hls_segment_filename', 'part%d.ts', 'index.m3u8'],
  renditions: [
    ...[
      '-hls_segment_type',
      'fmp4',
      '-var_stream_map',
      'a:0,agroup:sound,name:sound v:0,agroup:sound,name:video',
    ],
    ...['-master_pl_name', 'index.m3u8', '-hls_segment_filename', '%v/part%d.m4s', '%v/list.m3u8'],
  ],
  dash: ['-seg_duration', '1', '-use_template', '1', '-use_timeline', '1'],
}

/** Key, URI in the playlist, and initialization vector for the AES-128 of ffmpeg. */
function writeKey(directory: string): void {
  writeFileSync(join(directory, 'secret.key'), Buffer.from('0123456789abcdef'))
  writeFileSync(join(directory, 'key-info'), `secret.key\nsecret.key\n${'5a'.repeat(16)}\n`)
}
