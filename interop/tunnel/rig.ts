import { freePorts } from '../../src/foundation/free-port.testkit.ts'
import { type FrpProgram, type Make, startFrpc, startFrps } from './frp-program.ts'
import type { LocalServices } from './local-services.ts'

/** How server and client speak with one another. */
export interface Way {
  readonly mux: boolean
  readonly tls: boolean
  readonly wire: 'v1' | 'v2'
  readonly encryption: boolean
  readonly compression: boolean
  /** @defaultValue 'tcp' */
  readonly protocol?: 'tcp' | 'websocket' | 'wss'
}

/** Where a rig's server listens. */
export interface RigPorts {
  readonly bind: number
  readonly http: number
  readonly https: number
  readonly connect: number
  readonly tcp: number
  readonly digest: number
  readonly udp: number
  readonly stcp: number
  readonly sudp: number
}

const token = 'a token of the tests'

/** A server and a client with one proxy of each type, and visitors of their own. */
export class Rig implements AsyncDisposable {
  readonly ports: RigPorts
  readonly frps: FrpProgram
  readonly frpc: FrpProgram

  private constructor(ports: RigPorts, frps: FrpProgram, frpc: FrpProgram) {
    this.ports = ports
    this.frps = frps
    this.frpc = frpc
  }

  static async start(server: Make, client: Make, way: Way, services: LocalServices): Promise<Rig> {
    const ports = await rigPorts()
    const frps = await startFrps(server, serverConfig(ports, way))
    try {
      const frpc = await startFrpc(client, clientConfig(ports, way, services), proxyCount)
      return new Rig(ports, frps, frpc)
    } catch (error) {
      await frps[Symbol.asyncDispose]()
      throw new Error(`no rig; the server said:\n${frps.output}`, { cause: error })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.frpc[Symbol.asyncDispose]()
    await this.frps[Symbol.asyncDispose]()
  }
}

/** Proxies of `clientConfig`. */
export const proxyCount = 8

export async function rigPorts(): Promise<RigPorts> {
  const [bind = 0, http = 0, https = 0, connect = 0, tcp = 0, digest = 0, udp = 0, stcp = 0, sudp = 0] =
    await freePorts(9)
  return { bind, http, https, connect, tcp, digest, udp, stcp, sudp }
}

export function serverConfig(ports: RigPorts, way: Pick<Way, 'mux'>, more = ''): string {
  return `
bindAddr = "127.0.0.1"
bindPort = ${ports.bind}
vhostHTTPPort = ${ports.http}
vhostHTTPSPort = ${ports.https}
tcpmuxHTTPConnectPort = ${ports.connect}
auth.token = "${token}"
transport.tcpMux = ${way.mux}
${more}
`
}

export function clientConfig(ports: RigPorts, way: Way, services: LocalServices, more = ''): string {
  const flags = `{ useEncryption = ${way.encryption}, useCompression = ${way.compression} }`
  const proxy = (name: string, type: string, localPort: number, fields: string): string => `
[[proxies]]
name = "${name}"
type = "${type}"
localPort = ${localPort}
transport = ${flags}
${fields}
`
  const visitor = (name: string, type: string, bindPort: number): string => `
[[visitors]]
name = "${name}-visitor"
type = "${type}"
serverName = "${name}"
secretKey = "between us"
bindPort = ${bindPort}
transport = ${flags}
`
  return [
    `
serverAddr = "127.0.0.1"
serverPort = ${ports.bind}
auth.token = "${token}"
transport.protocol = "${way.protocol ?? 'tcp'}"
transport.wireProtocol = "${way.wire}"
transport.tcpMux = ${way.mux}
transport.tls.enable = ${way.tls}
${more}
`,
    proxy('tcp', 'tcp', services.echo, `remotePort = ${ports.tcp}`),
    proxy('digest', 'tcp', services.digest, `remotePort = ${ports.digest}`),
    proxy('udp', 'udp', services.udp, `remotePort = ${ports.udp}`),
    proxy('http', 'http', services.http, 'customDomains = ["web.test"]'),
    proxy('https', 'https', services.https, 'customDomains = ["secure.test"]'),
    proxy('mux', 'tcpmux', services.echo, 'multiplexer = "httpconnect"\ncustomDomains = ["mux.test"]'),
    proxy('stcp', 'stcp', services.echo, 'secretKey = "between us"'),
    proxy('sudp', 'sudp', services.udp, 'secretKey = "between us"'),
    visitor('stcp', 'stcp', ports.stcp),
    visitor('sudp', 'sudp', ports.sudp),
  ].join('')
}
