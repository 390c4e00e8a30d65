import type { LocalServices } from './local-services.ts'
import { recordedKey, type Recorded, recordedToken } from './recording.ts'

/** Ports that both configurations of a recording name. */
export interface RecordedPorts {
  /** Of the server, or of who stands in its way. */
  readonly server: number
  readonly http: number
  readonly https: number
  readonly connect: number
  readonly stcp: number
  readonly sudp: number
  /** Of the client's API. */
  readonly admin: number
}

/** frps's configuration as an object. */
export function recordedServer({ mux }: Pick<Recorded, 'mux'>, ports: RecordedPorts): object {
  return {
    bindAddr: '127.0.0.1',
    bindPort: ports.server,
    vhostHTTPPort: ports.http,
    vhostHTTPSPort: ports.https,
    tcpmuxHTTPConnectPort: ports.connect,
    auth: { token: recordedToken },
    transport: { tcpMux: mux, ...(mux && { tcpMuxKeepaliveInterval: 1 }) },
  }
}

/** frpc's configuration as an object, as it is at first or without the proxy that is closed in the end. */
export function recordedClient(
  { wire, mux }: Pick<Recorded, 'wire' | 'mux'>,
  ports: RecordedPorts,
  services: LocalServices,
  isWhole: boolean,
): object {
  const proxy = (name: string, type: string, localPort: number, more: object): object => ({
    name,
    type,
    localPort,
    ...more,
  })
  const visitor = (name: 'stcp' | 'sudp'): object => ({
    name: `${name}-visitor`,
    type: name,
    serverName: name,
    secretKey: recordedKey,
    bindPort: ports[name],
  })
  return {
    serverAddr: '127.0.0.1',
    serverPort: ports.server,
    auth: { token: recordedToken },
    webServer: { port: ports.admin },
    transport: {
      wireProtocol: wire,
      tcpMux: mux,
      ...(mux && { tcpMuxKeepaliveInterval: 1 }),
      heartbeatInterval: 1,
      heartbeatTimeout: 90,
      tls: { enable: false },
    },
    proxies: [
      proxy('tcp', 'tcp', services.echo, { remotePort: 0 }),
      proxy('layers', 'tcp', services.echo, {
        remotePort: 0,
        transport: { useEncryption: true, useCompression: true },
      }),
      proxy('http', 'http', services.http, { customDomains: ['web.test'] }),
      proxy('https', 'https', services.echo, { customDomains: ['secure.test'] }),
      proxy('connect', 'tcpmux', services.echo, { customDomains: ['mux.test'], multiplexer: 'httpconnect' }),
      proxy('udp', 'udp', services.udp, { remotePort: 0 }),
      proxy('stcp', 'stcp', services.echo, { secretKey: recordedKey }),
      proxy('sudp', 'sudp', services.udp, { secretKey: recordedKey }),
      ...(isWhole ? [proxy('extra', 'tcp', services.echo, { remotePort: 0 })] : []),
    ],
    visitors: [visitor('stcp'), visitor('sudp')],
  }
}
