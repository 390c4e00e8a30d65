import { startGateway, startPeer, type Subject } from './subject.ts'

/** One of the programs that carry the same load. */
export interface Contender {
  readonly name: string
  start(originPort: number): Promise<Subject>
}

/** A ratio of delivered units per CPU-second, subject by peer. */
export interface Comparison {
  readonly subject: string
  readonly peer: string
  /** The least ratio that meets the target; absent where none is set. */
  readonly atLeast?: number
}

export interface Scenario {
  readonly name: string
  /** Scenario of the load tool, and its options. */
  readonly load: readonly string[]
  readonly contenders: readonly Contender[]
  readonly comparisons: readonly Comparison[]
}

const gateway = (scheme: 'http' | 'rtmp'): Contender => ({
  name: 'gateway',
  start: () => startGateway(scheme),
})

const dgramRelay: Contender = {
  name: 'dgram relay',
  start: (originPort) =>
    startPeer('dgram-relay.ts', originPort, [], (port) => ['--relay', `127.0.0.1:${port}`]),
}

const engineRelay: Contender = {
  name: 'engine-node relay',
  start: (originPort) =>
    startPeer('engine-relay.ts', originPort, [], (port) => ['--relay', `127.0.0.1:${port}`]),
}

const tcpRelay = (mode: 'pipe' | 'onread'): Contender => ({
  name: `tcp relay, ${mode}`,
  start: (originPort) =>
    startPeer('tcp-relay.ts', originPort, [mode], (port) => ['--gateway', `127.0.0.1:${port}`]),
})

const httpRelay: Contender = {
  name: 'http relay, pipe',
  start: (originPort) =>
    startPeer('http-relay.ts', originPort, [], (port) => ['--gateway', `http://127.0.0.1:${port}`]),
}

/** Not more than 1.3 times the cost. */
const datagrams: readonly Comparison[] = ['gateway', 'engine-node relay'].map((subject) => ({
  subject,
  peer: 'dgram relay',
  atLeast: 1 / 1.3,
}))

const webrtc = (name: string, options: readonly string[]): Scenario => ({
  name: `WebRTC, 200 viewers, 1200 bytes, ${name}`,
  load: ['webrtc', '--clients', '200', '--size', '1200', ...options],
  contenders: [gateway('http'), engineRelay, dgramRelay],
  comparisons: datagrams,
})

export const scenarios: readonly Scenario[] = [
  webrtc('20 kpps to viewers', ['--rate', '20000']),
  webrtc('40 kpps to viewers in bursts of 8', ['--rate', '40000', '--burst', '8']),
  webrtc('saturated to viewers', ['--rate', '0']),
  webrtc('20 kpps to the origin', ['--rate', '20000', '--direction', 'up']),
  {
    name: 'RTMP play, 200 viewers of 2 Mbit/s, messages of 10 kB',
    load: ['rtmp', '--clients', '200', '--kbits', '2000', '--size', '10000'],
    contenders: [gateway('rtmp'), tcpRelay('pipe'), tcpRelay('onread')],
    comparisons: [
      { subject: 'gateway', peer: 'tcp relay, pipe', atLeast: 1 / 1.5 },
      { subject: 'gateway', peer: 'tcp relay, onread', atLeast: 1 / 1.5 },
    ],
  },
  {
    name: 'HTTP-FLV, 100 viewers of 2 Mbit/s, tags of 10 kB',
    load: ['flv', '--clients', '100', '--kbits', '2000', '--size', '10000'],
    contenders: [gateway('http'), httpRelay],
    comparisons: [{ subject: 'gateway', peer: 'http relay, pipe', atLeast: 1.6 }],
  },
]
