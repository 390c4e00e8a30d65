/**
 * The messages of frp as their JSON says them (reference §6): the names are those of the wire. A decoded message has every
 * field, with the zero of its type for what was not sent; an encoded one leaves zeros out, as Go's `omitempty` does.
 */

export type StringMap = Readonly<Record<string, string>>

export interface Login {
  readonly version: string
  readonly hostname: string
  /** As Go calls them: linux, darwin, windows. */
  readonly os: string
  /** As Go calls them: amd64, arm64. */
  readonly arch: string
  readonly user: string
  readonly privilege_key: string
  /** Unix time in seconds. */
  readonly timestamp: number
  /** Empty at first; the old one when a client returns. */
  readonly run_id: string
  readonly client_id: string
  readonly metas: StringMap
  readonly pool_count: number
  /** Ours; frp passes it over: the sender keeps one direction of a connection open when the other has ended. */
  readonly half_close: boolean
}

export interface LoginResp {
  readonly version: string
  readonly run_id: string
  readonly error: string
  /** Ours, as in `Login`. */
  readonly half_close: boolean
}

export interface NewProxy {
  readonly proxy_name: string
  /** Empty means tcp. */
  readonly proxy_type: string
  readonly use_encryption: boolean
  readonly use_compression: boolean
  /** As configured: `1MB`. */
  readonly bandwidth_limit: string
  /** Empty means client. */
  readonly bandwidth_limit_mode: string
  readonly group: string
  readonly group_key: string
  readonly metas: StringMap
  readonly annotations: StringMap
  readonly remote_port: number
  readonly custom_domains: readonly string[]
  readonly subdomain: string
  readonly locations: readonly string[]
  readonly http_user: string
  readonly http_pwd: string
  readonly host_header_rewrite: string
  readonly headers: StringMap
  readonly response_headers: StringMap
  readonly route_by_http_user: string
  readonly multiplexer: string
  readonly sk: string
  readonly allow_users: readonly string[]
}

export interface NewProxyResp {
  readonly proxy_name: string
  readonly remote_addr: string
  readonly error: string
}

export interface CloseProxy {
  readonly proxy_name: string
}

export interface NewWorkConn {
  readonly run_id: string
  readonly privilege_key: string
  readonly timestamp: number
}

/** Says nothing but its name. */
export type ReqWorkConn = Readonly<Record<string, never>>

export interface StartWorkConn {
  readonly proxy_name: string
  readonly src_addr: string
  readonly dst_addr: string
  readonly src_port: number
  readonly dst_port: number
  readonly error: string
}

export interface NewVisitorConn {
  readonly run_id: string
  readonly proxy_name: string
  readonly sign_key: string
  readonly timestamp: number
  readonly use_encryption: boolean
  readonly use_compression: boolean
}

export interface NewVisitorConnResp {
  readonly proxy_name: string
  readonly error: string
}

export interface Ping {
  readonly privilege_key: string
  readonly timestamp: number
}

export interface Pong {
  readonly error: string
}

/** An address as Go's `net.UDPAddr` is written. */
export interface UdpAddress {
  readonly IP: string
  readonly Port: number
  readonly Zone: string
}

/** A datagram of a user, either way. The content is bytes here and base64 (`c`) in JSON. */
export interface UdpPacket {
  readonly content: Uint8Array
  /** The user, in both directions; JSON name `r`. */
  readonly remote: UdpAddress | undefined
}

/** Messages of hole punching (xtcp) are known by name, so that they can be answered; their fields are not read. */
export type Opaque = Readonly<Record<string, unknown>>

export interface MessageBodies {
  readonly Login: Login
  readonly LoginResp: LoginResp
  readonly NewProxy: NewProxy
  readonly NewProxyResp: NewProxyResp
  readonly CloseProxy: CloseProxy
  readonly NewWorkConn: NewWorkConn
  readonly ReqWorkConn: ReqWorkConn
  readonly StartWorkConn: StartWorkConn
  readonly NewVisitorConn: NewVisitorConn
  readonly NewVisitorConnResp: NewVisitorConnResp
  readonly Ping: Ping
  readonly Pong: Pong
  readonly UDPPacket: UdpPacket
  readonly NatHoleVisitor: Opaque
  readonly NatHoleClient: Opaque
  readonly NatHoleResp: Opaque
  readonly NatHoleSid: Opaque
  readonly NatHoleReport: Opaque
}

export type MessageName = keyof MessageBodies

/** A message with its name: a union that `switch (message.name)` tells apart. */
export type FrpMessage = {
  readonly [Name in MessageName]: { readonly name: Name; readonly body: MessageBodies[Name] }
}[MessageName]

/** Which of frp's two wire protocols a connection speaks (reference §4, §5). */
export type WireVersion = 'v1' | 'v2'
