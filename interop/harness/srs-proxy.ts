import { join } from 'node:path'
import { freePorts } from '../../src/foundation/free-port.testkit.ts'
import { Program } from './program.ts'
import { repository } from './repository.ts'

/** `sluice srs-proxy` as a process, with every port named by a variable, as its users name them. */
export interface SrsProxyProcess extends AsyncDisposable {
  readonly program: Program
  readonly rtmp: number
  readonly http: number
  readonly api: number
  readonly webrtc: number
  readonly srt: number
  readonly system: number
  readonly admin: number
  /** Where an origin registers. */
  readonly registrationUrl: string
}

export interface SrsProxyOptions {
  /** Where `.env` and relative paths are looked for. */
  readonly folder: string
  readonly variables?: Readonly<Record<string, string>>
  readonly flags?: readonly string[]
}

/** Starts it. Resolves when it says that it is ready. */
export async function startSrsProxy({
  folder,
  variables = {},
  flags = [],
}: SrsProxyOptions): Promise<SrsProxyProcess> {
  const [rtmp = 0, http = 0, api = 0, webrtc = 0, srt = 0, system = 0] = await freePorts(6)
  const program = srsProxyProgram(folder, {
    variables: {
      PROXY_RTMP_SERVER: `${rtmp}`,
      PROXY_HTTP_SERVER: `${http}`,
      PROXY_HTTP_API: `${api}`,
      PROXY_WEBRTC_SERVER: `${webrtc}`,
      PROXY_SRT_SERVER: `${srt}`,
      PROXY_SYSTEM_API: `${system}`,
      ...variables,
    },
    flags: ['--admin', '127.0.0.1:0', ...flags],
  })
  const admin = await program.line((line) =>
    line.includes('"gateway ready"')
      ? Number(/:(\d+)$/.exec((JSON.parse(line) as { readonly admin: string }).admin)?.[1])
      : undefined,
  )
  return {
    ...{ program, rtmp, http, api, webrtc, srt, system, admin },
    registrationUrl: `http://127.0.0.1:${system}/api/v1/srs/register`,
    [Symbol.asyncDispose]: async () => {
      await program.stop()
    },
  }
}

/** The same without waiting and with nothing but what is said here. */
export function srsProxyProgram(
  folder: string,
  { variables = {}, flags = [] }: Omit<SrsProxyOptions, 'folder'>,
): Program {
  return new Program(process.execPath, [join(repository, 'dist/cli/main.js'), 'srs-proxy', ...flags], {
    cwd: folder,
    env: variables,
  })
}
