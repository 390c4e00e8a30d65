import { join } from 'node:path'
import { Program } from './program.ts'
import { repository } from './repository.ts'

/** A demo origin in a process of its own, registered at a gateway. */
export interface DemoOriginProcess extends AsyncDisposable {
  readonly rtmpPort: number
  readonly httpPort: number
  /** `app/stream` of everything that is published there. */
  streams(): Promise<readonly string[]>
  /** Stops it where it is: the system still takes connections for it, and it says nothing on them. */
  freeze(): void
  /** Ends it without a farewell, as a crash does. */
  kill(): Promise<void>
}

export async function startDemoOrigin(registrationUrl: string): Promise<DemoOriginProcess> {
  const program = new Program(process.execPath, [
    ...['--import', 'tsx', join(repository, 'interop/harness/demo-origin-process.ts')],
    registrationUrl,
  ])
  const ports = await program.readyLine((line) =>
    line.includes('"origin ready"')
      ? (JSON.parse(line) as { readonly rtmp: number; readonly http: number })
      : undefined,
  )
  return {
    rtmpPort: ports.rtmp,
    httpPort: ports.http,
    streams: async () => {
      const response = await fetch(`http://127.0.0.1:${ports.http}/api/v1/streams`)
      const streams = (await response.json()) as readonly { readonly app: string; readonly stream: string }[]
      return streams.map(({ app, stream }) => `${app}/${stream}`)
    },
    freeze: () => program.kill('SIGSTOP'),
    kill: async () => {
      program.kill('SIGKILL')
      await program.ended
    },
    [Symbol.asyncDispose]: async () => {
      await program.stop()
    },
  }
}
