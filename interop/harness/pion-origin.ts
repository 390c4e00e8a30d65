import { join } from 'node:path'
import { Program, runProgram } from './program.ts'
import { repository } from './repository.ts'

/** What happened in a pion origin. */
export interface PionStats {
  /** The remote address and port of each session, as ICE chose it; empty before it did. */
  readonly peers: readonly string[]
  /** Picture loss indications that players sent. */
  readonly keyFrameRequests: number
}

/** A media server on pion/webrtc that announced itself at a gateway; see interop/pion-origin. */
export interface PionOrigin extends AsyncDisposable {
  stats(): Promise<PionStats>
}

const folder = join(repository, 'interop/pion-origin')

/** Builds the program, which Go's cache makes quick the second time, and starts it. */
export async function startPionOrigin(registrationUrl: string): Promise<PionOrigin> {
  await runProgram('go', ['build', '-o', 'bin/pion-origin', '.'], {
    cwd: folder,
    // Never another toolchain than the one that is here.
    env: { GOTOOLCHAIN: 'local' },
    deadlineMs: 300_000,
  })
  const program = new Program(join(folder, 'bin/pion-origin'), ['-register', registrationUrl])
  const api = await program.line((line) => {
    if (!line.includes('"origin ready"')) return undefined
    return (JSON.parse(line) as { readonly api: number }).api
  })
  return {
    stats: async () => {
      const response = await fetch(`http://127.0.0.1:${api}/stats`)
      return (await response.json()) as PionStats
    },
    [Symbol.asyncDispose]: async () => {
      await program.stop()
    },
  }
}
