import { struct, type FieldKind, type Struct } from './go-json.ts'
import type { MessageBodies, MessageName } from './messages.ts'

/** What of a message is on the wire beside its content. */
export interface MessageType {
  readonly name: MessageName
  /** The first byte of a v1 message. */
  readonly v1: number
  /** The message id of v2. */
  readonly v2: number
  /** Of all but `UDPPacket`, whose form is kept in `udp-packet.ts`. */
  readonly struct: Struct
}

export function messageType(name: MessageName): MessageType {
  return types[name]
}

export function messageTypeOfV1(byte: number): MessageType | undefined {
  return byV1.get(byte)
}

export function messageTypeOfV2(id: number): MessageType | undefined {
  return byV2.get(id)
}

type KindOf<Value> = Value extends string
  ? 'string'
  : Value extends boolean
    ? 'boolean'
    : Value extends number
      ? 'int' | 'port'
      : Value extends readonly string[]
        ? 'strings'
        : 'map'

type Kinds<Name extends MessageName> = {
  readonly [Field in keyof MessageBodies[Name]]-?: KindOf<MessageBodies[Name][Field]>
} & { readonly client_spec?: 'unread' }

function type<Name extends MessageName>(name: Name, v1: string, v2: number, kinds: Kinds<Name>): MessageType {
  return { name, v1: v1.charCodeAt(0), v2, struct: struct(kinds) }
}

function opaque(
  name: MessageName,
  v1: string,
  v2: number,
  kinds: Readonly<Record<string, FieldKind>>,
): MessageType {
  return { name, v1: v1.charCodeAt(0), v2, struct: struct(kinds) }
}

const types: { readonly [Name in MessageName]: MessageType } = {
  Login: type('Login', 'o', 1, {
    version: 'string',
    hostname: 'string',
    os: 'string',
    arch: 'string',
    user: 'string',
    privilege_key: 'string',
    timestamp: 'int',
    run_id: 'string',
    client_id: 'string',
    metas: 'map',
    // Honoured on a listener of frp's SSH gateway only, which we have not: from the network it must mean nothing.
    client_spec: 'unread',
    pool_count: 'int',
    half_close: 'boolean',
  }),
  LoginResp: type('LoginResp', '1', 2, {
    version: 'string',
    run_id: 'string',
    error: 'string',
    half_close: 'boolean',
  }),
  NewProxy: type('NewProxy', 'p', 3, {
    proxy_name: 'string',
    proxy_type: 'string',
    use_encryption: 'boolean',
    use_compression: 'boolean',
    bandwidth_limit: 'string',
    bandwidth_limit_mode: 'string',
    group: 'string',
    group_key: 'string',
    metas: 'map',
    annotations: 'map',
    remote_port: 'int',
    custom_domains: 'strings',
    subdomain: 'string',
    locations: 'strings',
    http_user: 'string',
    http_pwd: 'string',
    host_header_rewrite: 'string',
    headers: 'map',
    response_headers: 'map',
    route_by_http_user: 'string',
    sk: 'string',
    allow_users: 'strings',
    multiplexer: 'string',
  }),
  NewProxyResp: type('NewProxyResp', '2', 4, {
    proxy_name: 'string',
    remote_addr: 'string',
    error: 'string',
  }),
  CloseProxy: type('CloseProxy', 'c', 5, { proxy_name: 'string' }),
  NewWorkConn: type('NewWorkConn', 'w', 6, {
    run_id: 'string',
    privilege_key: 'string',
    timestamp: 'int',
  }),
  ReqWorkConn: type('ReqWorkConn', 'r', 7, {}),
  StartWorkConn: type('StartWorkConn', 's', 8, {
    proxy_name: 'string',
    src_addr: 'string',
    dst_addr: 'string',
    src_port: 'port',
    dst_port: 'port',
    error: 'string',
  }),
  NewVisitorConn: type('NewVisitorConn', 'v', 9, {
    run_id: 'string',
    proxy_name: 'string',
    sign_key: 'string',
    timestamp: 'int',
    use_encryption: 'boolean',
    use_compression: 'boolean',
  }),
  NewVisitorConnResp: type('NewVisitorConnResp', '3', 10, { proxy_name: 'string', error: 'string' }),
  Ping: type('Ping', 'h', 11, { privilege_key: 'string', timestamp: 'int' }),
  Pong: type('Pong', '4', 12, { error: 'string' }),
  UDPPacket: opaque('UDPPacket', 'u', 13, {}),
  NatHoleVisitor: opaque('NatHoleVisitor', 'i', 14, {
    transaction_id: 'string',
    proxy_name: 'string',
    pre_check: 'boolean',
    protocol: 'string',
    sign_key: 'string',
    timestamp: 'int',
    mapped_addrs: 'strings',
    assisted_addrs: 'strings',
  }),
  NatHoleClient: opaque('NatHoleClient', 'n', 15, {
    transaction_id: 'string',
    proxy_name: 'string',
    sid: 'string',
    mapped_addrs: 'strings',
    assisted_addrs: 'strings',
  }),
  NatHoleResp: opaque('NatHoleResp', 'm', 16, {
    transaction_id: 'string',
    sid: 'string',
    protocol: 'string',
    candidate_addrs: 'strings',
    assisted_addrs: 'strings',
    detect_behavior: 'unread',
    error: 'string',
  }),
  NatHoleSid: opaque('NatHoleSid', '5', 17, {
    transaction_id: 'string',
    sid: 'string',
    response: 'boolean',
    nonce: 'string',
  }),
  NatHoleReport: opaque('NatHoleReport', '6', 18, { sid: 'string', success: 'boolean' }),
}

const byV1: ReadonlyMap<number, MessageType> = new Map(Object.values(types).map((one) => [one.v1, one]))
const byV2: ReadonlyMap<number, MessageType> = new Map(Object.values(types).map((one) => [one.v2, one]))
