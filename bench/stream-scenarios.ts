import { gateway, gatewayPerEngine } from './gateway-subject.ts'
import { nginx } from './nginx-subject.ts'
import { nodePeer } from './peer-subject.ts'
import type { ScenarioGroup } from './scenario.ts'
import type { SubjectKind } from './subject.ts'
import type { Tools } from './tools.ts'

/** Media over TCP and its set-ups; no datapath engine moves any of it. */
export function streamGroups(tools: Tools): readonly ScenarioGroup[] {
  const nginxSubject = tools.nginx === undefined ? [] : [nginx('nginx', tools.nginx)]
  const bufferingNginx = tools.nginx === undefined ? [] : [nginx('nginx, buffering', tools.nginx, 'on')]
  return [
    {
      name: 'RTMP play',
      load: ['rtmp', '--clients', '200', '--kbits', '2000', '--size', '10000'],
      sessions: 200,
      subjects: [gateway('gateway', 'rtmp', 'auto'), tcpRelay('pipe'), tcpRelay('onread')],
      scenarios: [
        {
          name: 'MEDIA RTMP play, 200 viewers of 2 Mbit/s, messages of 10 kB',
          order: [],
          comparisons: [
            { subject: 'gateway', against: 'node:net pipe', atLeast: 1 / 1.3 },
            { subject: 'gateway', against: 'node:net onread', atLeast: 1 / 1.3 },
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
        ...nginxSubject,
        ...bufferingNginx,
      ],
      scenarios: [
        {
          name: 'MEDIA HTTP-FLV, 100 viewers of 2 Mbit/s, tags of 10 kB',
          order: [],
          // As long as it takes to compile what passes bodies on, in the gateway and in the Node relay.
          warmupSeconds: 3,
          comparisons: [
            { subject: 'gateway', against: 'nginx', atLeast: 0.6 },
            { subject: 'gateway', against: 'nginx, buffering', atLeast: 0.6 },
            { subject: 'gateway', against: 'node:http pipe', atLeast: 1.6 },
          ],
          limits: [],
        },
      ],
    },
    {
      name: 'HLS',
      load: ['hls', '--clients', '200', '--kbits', '2000', '--size', '250000'],
      sessions: 200,
      subjects: [gateway('gateway', 'http', 'auto'), ...nginxSubject],
      scenarios: [
        {
          name: 'MEDIA HLS, 200 viewers of 2 Mbit/s, segments of 250 kB',
          order: [],
          // There are only 200 requests per second by which V8 learns what to compile.
          warmupSeconds: 10,
          comparisons: [{ subject: 'gateway', against: 'nginx' }],
          limits: [],
        },
      ],
    },
    {
      name: 'WHIP set-ups',
      load: ['whip', '--clients', '8'],
      sessions: 0,
      // Each session opens and closes a socket of the datapath.
      subjects: gatewayPerEngine('http'),
      scenarios: [
        {
          name: 'MEDIA WHIP set-ups and deletes, 8 clients at a time',
          order: [],
          // The paths of a fresh gateway are compiled while it serves the first thousands.
          warmupSeconds: 3,
          comparisons: [{ subject: 'gateway native', against: 'gateway node' }],
          limits: [],
        },
      ],
    },
  ]
}

function tcpRelay(mode: 'pipe' | 'onread'): SubjectKind {
  return nodePeer(`node:net ${mode}`, 'tcp-relay.ts', [mode], (port) => ['--gateway', `127.0.0.1:${port}`])
}
