import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child } from './child.ts'
import { freePorts } from './free-ports.ts'
import { relayOption } from './peer-subject.ts'
import { startDeadlineMs, type Subject, type SubjectKind } from './subject.ts'
import type { FrpExecutables } from './tools.ts'
import { untilListening } from './until-listening.ts'

/** How a tunnel's client reaches its server, over TCP. */
export interface Transport {
  /** All over one connection, as by default; without it every user's is one of its own. */
  readonly isMultiplexed: boolean
  readonly isTls: boolean
  readonly wire: 'v1' | 'v2'
}

/** What starts a program, before `-c FILE`. */
type Command = readonly [string, ...string[]]

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

/** Ours to ours, as `npm run build` left it in `dist`. */
export function sluiceTunnel(transport: Transport): SubjectKind {
  return tunnel('sluice', [process.execPath, main, 'frps'], [process.execPath, main, 'frpc'], transport)
}

/** The real frp to itself. */
export function frpTunnel({ frps, frpc }: FrpExecutables, transport: Transport): SubjectKind {
  return tunnel('frp', [frps], [frpc], transport)
}

/** Both ends of either make run with the same files: a token, no log, else what they do by default. */
function tunnel(name: string, frps: Command, frpc: Command, transport: Transport): SubjectKind {
  return { name, start: (originPort) => startTunnel(frps, frpc, transport, originPort) }
}

async function startTunnel(
  frps: Command,
  frpc: Command,
  transport: Transport,
  servicePort: number,
): Promise<Subject> {
  const [serverPort = 0, usersPort = 0] = await freePorts(2)
  const directory = mkdtempSync(join(tmpdir(), 'tunnel-bench-'))
  const children: Child[] = []
  const run = ([command, ...args]: Command, file: string, config: string): Child => {
    const path = join(directory, file)
    writeFileSync(path, config)
    const child = new Child(command, [...args, '-c', path])
    children.push(child)
    return child
  }
  const close = async (): Promise<void> => {
    for (const child of children.toReversed()) await child.stop()
    rmSync(directory, { recursive: true })
  }
  try {
    const server = run(frps, 'frps.toml', serverConfig(serverPort, transport))
    await untilListening(server, serverPort, startDeadlineMs)
    run(frpc, 'frpc.toml', clientConfig(serverPort, usersPort, servicePort, transport))
    // The load waits until its service can be reached.
    return { children, loadOptions: relayOption(String(usersPort)), close }
  } catch (error) {
    await close()
    throw error
  }
}

function serverConfig(port: number, { isMultiplexed }: Transport): string {
  return `bindAddr = "127.0.0.1"
bindPort = ${port}
proxyBindAddr = "127.0.0.1"
${shared}
transport.tcpMux = ${isMultiplexed}
`
}

/** Streams and datagrams have the same port at the users' end, and the same at the service's. */
function clientConfig(
  serverPort: number,
  usersPort: number,
  servicePort: number,
  { isMultiplexed, isTls, wire }: Transport,
): string {
  const proxies = (['tcp', 'udp'] as const).map(
    (type) => `[[proxies]]
name = "${type}"
type = "${type}"
localIP = "127.0.0.1"
localPort = ${servicePort}
remotePort = ${usersPort}
`,
  )
  return `serverAddr = "127.0.0.1"
serverPort = ${serverPort}
${shared}
transport.tcpMux = ${isMultiplexed}
transport.tls.enable = ${isTls}
transport.wireProtocol = "${wire}"
${proxies.join('')}`
}

const shared = `auth.token = "bench"
log.level = "warn"`
