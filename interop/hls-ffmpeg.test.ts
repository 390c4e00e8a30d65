import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashPackets, makeSample, type PacketHashes } from './harness/ffmpeg.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { type NginxFiles, startNginxFiles } from './harness/nginx.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { packageFile, type PackageKind } from './hls/packages.ts'

const SECONDS = 6

describe('ffmpeg that reads packaged media through the gateway', () => {
  const folder = temporaryFolder()
  const root = join(folder.path, 'root')
  const sample = join(folder.path, 'sample.flv')
  let origin: NginxFiles
  let gateway: Gateway

  beforeAll(async () => {
    await makeSample(sample, SECONDS)
    origin = await startNginxFiles(join(folder.path, 'nginx'), root)
    const at = (ending: string): string => `http://HOST:${origin.port}/{app}/{stream}/index.${ending}`
    gateway = await startGateway({
      config: {
        origins: [
          { name: 'files', kind: 'custom', host: '127.0.0.1', urls: { hls: at('m3u8'), dash: at('mpd') } },
        ],
      },
    })
  })

  afterAll(async () => {
    await gateway.stop()
    await origin[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
  })

  const kinds: readonly (readonly [kind: PackageKind, asked: RegExp])[] = [
    ['ts', /\/part\d\.ts$/],
    ['fmp4', /\/part\d\.m4s$/],
    ['single', /\/index\.m4s$/],
    ['encrypted', /\/secret\.key$/],
    ['renditions', /\/sound\/part\d\.m4s$/],
    ['dash', /\/chunk-stream\d-\d+\.m4s$/],
  ]

  test.each(kinds)('gets of %s every packet as the origin has it', async (kind, asked) => {
    await packageFile(kind, sample, join(root, 'live', kind))
    const ending = kind === 'dash' ? 'mpd' : 'm3u8'
    const before = origin.requests().length
    const through = await hashPackets(`${gateway.url}/live/${kind}.${ending}`)
    const requests = origin.requests().slice(before)
    const direct = await hashPackets(`http://127.0.0.1:${origin.port}/live/${kind}/index.${ending}`)
    expect(through.video.length).toBe(20 * SECONDS)
    expect(lengths(through)).toEqual(lengths(direct))
    expect(through).toEqual(direct)
    expect(requests.some((url) => asked.test(url))).toBe(true)
    // `spbhid` is between players and gateways.
    expect(requests.filter((url) => url.includes('spbhid'))).toEqual([])
  })
})

function lengths({ video, audio }: PacketHashes): readonly number[] {
  return [video.length, audio.length]
}
