import { isRecord } from './fold-keys.ts'

/** A setting that frp has and this program does not. */
export interface ForeignSetting {
  readonly path: readonly string[]
  /** `error` refuses it unless it is off; `note` drops it with a word to the user, `nothing` without. */
  readonly effect: 'error' | 'note' | 'nothing'
  readonly isOff: (value: unknown) => boolean
  readonly why: string
  /** The schema knows the key and takes its other values. */
  readonly stays?: true
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || value === '' || value === 0 || value === false

const isEmptyList = (value: unknown): boolean =>
  isEmpty(value) || (Array.isArray(value) && value.length === 0)

const isWithout =
  (key: string) =>
  (value: unknown): boolean =>
    isEmpty(value) || (isRecord(value) && isEmpty(takeKey(value, [key]).value))

const version: ForeignSetting = { path: ['version'], effect: 'nothing', isOff: isEmpty, why: '' }

const udpPacketSize: ForeignSetting = {
  path: ['udpPacketSize'],
  effect: 'note',
  isOff: (value) => isEmpty(value) || value === 1500,
  why: 'has no effect: datagrams pass whole, up to what a message can hold',
}

const webServer: readonly ForeignSetting[] = [
  {
    path: ['webServer', 'assetsDir'],
    effect: 'note',
    isOff: isEmpty,
    why: 'has no effect: the pages of the web server are built in',
  },
  {
    path: ['webServer', 'pprofEnable'],
    effect: 'note',
    isOff: isEmpty,
    why: "has no effect: there is no profiler of Go's here",
  },
  ...['trustedCaFile', 'serverName'].map(
    (key): ForeignSetting => ({
      path: ['webServer', 'tls', key],
      effect: 'note',
      isOff: isEmpty,
      why: 'has no effect: clients of the web server are not asked for certificates',
    }),
  ),
]

const quic: ForeignSetting = {
  path: ['transport', 'quic'],
  effect: 'note',
  isOff: isEmpty,
  why: 'has no effect: quic is not supported',
}

export const frpsForeignSettings: readonly ForeignSetting[] = [
  version,
  udpPacketSize,
  ...['kcp', 'quic'].map(
    (name): ForeignSetting => ({
      path: [`${name}BindPort`],
      effect: 'error',
      isOff: isEmpty,
      why: `${name} is not supported: clients can use tcp, websocket or wss; remove the key or set it to 0`,
    }),
  ),
  quic,
  {
    path: ['sshTunnelGateway'],
    effect: 'error',
    isOff: isWithout('bindPort'),
    why: 'the SSH tunnel gateway is not supported: remove it or set bindPort to 0',
  },
  {
    path: ['httpPlugins'],
    effect: 'error',
    isOff: isEmptyList,
    why: 'server plugins are not supported: auth.tokens can limit what clients may do',
  },
  {
    path: ['natholeAnalysisDataReserveHours'],
    effect: 'note',
    isOff: isEmpty,
    why: 'has no effect: xtcp is not supported',
  },
  {
    path: ['transport', 'tls', 'serverName'],
    effect: 'note',
    isOff: isEmpty,
    why: 'has no effect: it is a setting of clients',
  },
  ...webServer,
]

export const frpcForeignSettings: readonly ForeignSetting[] = [
  version,
  udpPacketSize,
  {
    path: ['transport', 'protocol'],
    effect: 'error',
    isOff: (value) => value !== 'kcp' && value !== 'quic',
    why: 'kcp and quic are not supported; allowed: tcp, websocket, wss',
    stays: true,
  },
  {
    path: ['transport', 'proxyURL'],
    effect: 'error',
    isOff: (value) => typeof value !== 'string' || !/^ntlm:/i.test(value),
    why: 'NTLM is not supported; allowed: http, https, socks5',
    stays: true,
  },
  quic,
  {
    path: ['natHoleStunServer'],
    effect: 'note',
    isOff: isEmpty,
    why: 'has no effect: xtcp is not supported',
  },
  {
    path: ['featureGates'],
    effect: 'error',
    isOff: (value) => isEmpty(value) || (isRecord(value) && Object.values(value).every(isEmpty)),
    why: 'features that frp is trying out are not supported: remove it',
  },
  {
    path: ['virtualNet'],
    effect: 'error',
    isOff: isWithout('address'),
    why: 'the virtual network is not supported: remove it',
  },
  ...webServer,
]

const plugin: ForeignSetting = {
  path: ['plugin'],
  effect: 'error',
  isOff: isEmpty,
  why: 'plugins are not supported: localIP and localPort name the service',
}

const xtcp: ForeignSetting = {
  path: ['type'],
  effect: 'error',
  isOff: (value) => value !== 'xtcp',
  why: 'xtcp is not supported: stcp leads through the server',
  stays: true,
}

export const proxyForeignSettings: readonly ForeignSetting[] = [xtcp, plugin]

export const visitorForeignSettings: readonly ForeignSetting[] = [
  xtcp,
  { ...plugin, why: 'plugins are not supported: bindAddr and bindPort say where the service is offered' },
]

/** A key taken out of a table, found whatever its case, and the table without it. */
export function takeKey(
  raw: Readonly<Record<string, unknown>>,
  path: readonly string[],
): { readonly value: unknown; readonly rest: Readonly<Record<string, unknown>> } {
  const [first = '', ...inner] = path
  const key = Object.keys(raw).find((name) => name.toLowerCase() === first.toLowerCase())
  if (key === undefined) return { value: undefined, rest: raw }
  const entries = Object.entries(raw)
  if (inner.length === 0) {
    return { value: raw[key], rest: Object.fromEntries(entries.filter(([name]) => name !== key)) }
  }
  const table = raw[key]
  if (!isRecord(table)) return { value: undefined, rest: raw }
  const { value, rest } = takeKey(table, inner)
  return { value, rest: Object.fromEntries(entries.map(([name, old]) => [name, name === key ? rest : old])) }
}
