import { join } from 'node:path'
import { Program, runProgram } from '../harness/program.ts'
import { repository } from '../harness/repository.ts'
import type { EchoPeer } from './echo-peer.ts'
import type { TurnServerUnderTest, TurnTransport } from './turn-server.ts'

/** How a relay of datagrams went. */
export interface DatagramReport {
  readonly sent: number
  /** Different ones that came back, whole. */
  readonly received: number
  readonly lost: number
  readonly bytes: number
  /** Those that came back with other bytes, and those that came back again. */
  readonly broken: number
  readonly twice: number
  /** The longest time in which nothing came back. */
  readonly longestGapMs: number
  /** How often the permission was asked for again; a refusal ends the client with an error. */
  readonly renewals: number
}

/** How TCP allocations went: bytes that arrived over a connection out, and both ways over one in. */
export interface StreamReport {
  readonly relayed: string
  readonly outBytes: number
  readonly inBytes: number
  readonly backBytes: number
  /** Whom the server said the peer that came in to be, and who it is. */
  readonly seenFrom: string
  readonly from: string
}

export interface RelayOptions {
  /** Milliseconds between datagrams. @defaultValue 5 */
  readonly intervalMs?: number
  /** Bytes of a datagram. @defaultValue 200 */
  readonly size?: number
  /**
   * How often the client asks for its permission again, in milliseconds: a request with its credentials, as a Refresh is, which
   * pion makes after five minutes only. @defaultValue never
   */
  readonly renewMs?: number
}

/** A client that sends datagrams through a relay to an echo until it is told to stop. */
export interface RunningRelay extends AsyncDisposable {
  readonly relayed: string
  readonly program: Program
  /** Ends it, after what is on its way has had 2 s to come back. @throws Error when the client failed meanwhile */
  finish(): Promise<DatagramReport>
}

const folder = join(repository, 'interop/turn')
const command = join(folder, 'bin/pion-client')

/** Builds the client, which Go's cache makes quick the second time. To be called before all else here. */
export async function buildPionClient(): Promise<void> {
  await runProgram('go', ['build', '-o', command, '.'], {
    cwd: join(folder, 'pion-client'),
    // Never another toolchain than the one that is here.
    env: { GOTOOLCHAIN: 'local' },
    deadlineMs: 300_000,
  })
}

/** Starts a relay of datagrams. Resolves when its allocation is there, with a permission for the peer. */
export async function startRelay(
  server: TurnServerUnderTest,
  transport: TurnTransport,
  peer: EchoPeer,
  { intervalMs = 5, size = 200, renewMs = 0 }: RelayOptions = {},
): Promise<RunningRelay> {
  const args = ['-interval', `${intervalMs}ms`, '-size', `${size}`, '-renew', `${renewMs}ms`, 'datagrams']
  const program = new Program(command, [...argumentsOf(server, transport, peer), ...args])
  try {
    const { relayed } = await saidBy<{ readonly relayed: string }>(program, 'relaying')
    return {
      relayed,
      program,
      finish: async () => {
        program.write('\n')
        return await saidBy<DatagramReport>(program, 'relayed')
      },
      [Symbol.asyncDispose]: async () => {
        await program.stop()
      },
    }
  } catch (error) {
    await program.stop()
    throw error
  }
}

/** Sends `bytes` over a connection to a peer and both ways over one from a peer (RFC 6062). */
export async function relayStreams(
  server: TurnServerUnderTest,
  transport: 'tcp' | 'tls',
  peer: EchoPeer,
  bytes: number,
): Promise<StreamReport> {
  const args = [...argumentsOf(server, transport, peer), '-size', `${bytes}`, 'streams']
  await using program = new Program(command, args)
  return await saidBy<StreamReport>(program, 'relayed')
}

/** The address that the server sees the client come from. */
export async function mappedAddress(server: TurnServerUnderTest, transport: TurnTransport): Promise<string> {
  await using program = new Program(command, [...argumentsOf(server, transport), 'binding'])
  return (await saidBy<{ readonly mapped: string }>(program, 'mapped')).mapped
}

function argumentsOf(
  { ports, username, password, certificateFile }: TurnServerUnderTest,
  transport: TurnTransport,
  peer?: EchoPeer,
): readonly string[] {
  return [
    ...['-transport', transport, '-server', `127.0.0.1:${ports[transport]}`],
    ...['-username', username, '-password', password],
    ...(transport === 'tls' ? ['-ca', certificateFile] : []),
    ...(peer === undefined ? [] : ['-peer', `${peer.address}:${peer.port}`]),
  ]
}

async function saidBy<T>(program: Program, message: string): Promise<T> {
  return await program.line((line) =>
    line.includes(`"msg":"${message}"`) ? (JSON.parse(line) as T) : undefined,
  )
}
