import { gateway } from './gateway-subject.ts'
import { nodePeer } from './peer-subject.ts'
import type { ScenarioGroup } from './scenario.ts'

/** Live streams over TCP; no datapath engine takes part. */
export const streamGroups: readonly ScenarioGroup[] = [
  {
    name: 'RTMP play',
    load: ['rtmp', '--clients', '200', '--kbits', '2000', '--size', '10000'],
    sessions: 200,
    subjects: [gateway('gateway', 'rtmp', 'auto'), tcpRelay('pipe'), tcpRelay('onread')],
    scenarios: [
      {
        name: 'RTMP play, 200 viewers of 2 Mbit/s, messages of 10 kB',
        order: [],
        comparisons: [
          { subject: 'gateway', against: 'node:net pipe', atLeast: 1 / 1.5 },
          { subject: 'gateway', against: 'node:net onread', atLeast: 1 / 1.5 },
        ],
        limits: [],
      },
    ],
  },
  {
    name: 'HTTP-FLV',
    load: ['flv', '--clients', '100', '--kbits', '2000', '--size', '10000'],
    sessions: 100,
    subjects: [
      gateway('gateway', 'http', 'auto'),
      nodePeer('node:http pipe', 'http-relay.ts', [], (port) => ['--gateway', `http://127.0.0.1:${port}`]),
    ],
    scenarios: [
      {
        name: 'HTTP-FLV, 100 viewers of 2 Mbit/s, tags of 10 kB',
        order: [],
        comparisons: [{ subject: 'gateway', against: 'node:http pipe', atLeast: 1.6 }],
        limits: [],
      },
    ],
  },
]

function tcpRelay(mode: 'pipe' | 'onread'): ReturnType<typeof nodePeer> {
  return nodePeer(`node:net ${mode}`, 'tcp-relay.ts', [mode], (port) => ['--gateway', `127.0.0.1:${port}`])
}
