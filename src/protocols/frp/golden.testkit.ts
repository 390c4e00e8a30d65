import type { MessageName } from './messages.ts'

/**
 * Bytes that frp itself wrote: a Go program of ours that imports frp's packages (0.70.1; 0.71.0 for what is binary) and
 * golang/snappy 0.0.4 made them. JSON of messages by name, in the order in which they were written.
 */

/** Unescaped in Go's JSON. */
const DEL = '\u007f'

export const goldenMessages: readonly (readonly [name: MessageName, json: string])[] = [
  ['Login', String.raw`{"client_spec":{}}`],
  [
    'Login',
    String.raw`{"version":"0.70.1","hostname":"hüst\"\\\u0001\b\f\n\r\t${DEL}","os":"linux","arch":"amd64","user":"u","privilege_key":"k","timestamp":1700000000,"run_id":"r","client_id":"c","metas":{"10":"x","9":"y","Z":"","a":"\u003c1\u003e\u0026\u2028\u2029","b":"2","￮":"bmp","😀":"astral"},"client_spec":{},"pool_count":5}`,
  ],
  ['LoginResp', String.raw`{}`],
  [
    'LoginResp',
    String.raw`{"version":"0.70.1","run_id":"0123456789abcdef","error":"a \u003cb\u003e \u0026 c"}`,
  ],
  ['NewProxy', String.raw`{}`],
  [
    'NewProxy',
    String.raw`{"proxy_name":"u.p","proxy_type":"http","use_encryption":true,"use_compression":true,"bandwidth_limit":"1MB","bandwidth_limit_mode":"server","group":"g","group_key":"gk","metas":{"10":"x","9":"y","Z":"","a":"\u003c1\u003e\u0026\u2028\u2029","b":"2","￮":"bmp","😀":"astral"},"annotations":{"x":"y"},"remote_port":6000,"custom_domains":["a.example","*.b.example"],"subdomain":"s","locations":["/","/a\u0026b"],"http_user":"hu","http_pwd":"hp","host_header_rewrite":"w","headers":{"x-from":"1"},"response_headers":{"x-to":"2"},"route_by_http_user":"ru","sk":"sk","allow_users":["*"],"multiplexer":"httpconnect"}`,
  ],
  ['NewProxyResp', String.raw`{}`],
  ['NewProxyResp', String.raw`{"proxy_name":"p","remote_addr":":6000","error":"e"}`],
  ['CloseProxy', String.raw`{}`],
  ['CloseProxy', String.raw`{"proxy_name":"p"}`],
  ['NewWorkConn', String.raw`{}`],
  ['NewWorkConn', String.raw`{"run_id":"r","privilege_key":"k","timestamp":1}`],
  ['ReqWorkConn', String.raw`{}`],
  ['StartWorkConn', String.raw`{}`],
  [
    'StartWorkConn',
    String.raw`{"proxy_name":"p","src_addr":"1.2.3.4","dst_addr":"5.6.7.8","src_port":1,"dst_port":65535,"error":"e"}`,
  ],
  ['NewVisitorConn', String.raw`{}`],
  [
    'NewVisitorConn',
    String.raw`{"run_id":"r","proxy_name":"p","sign_key":"s","timestamp":2,"use_encryption":true,"use_compression":true}`,
  ],
  ['NewVisitorConnResp', String.raw`{}`],
  ['NewVisitorConnResp', String.raw`{"proxy_name":"p","error":"e"}`],
  ['Ping', String.raw`{}`],
  ['Ping', String.raw`{"privilege_key":"k","timestamp":3}`],
  ['Pong', String.raw`{}`],
  ['Pong', String.raw`{"error":"e"}`],
  ['UDPPacket', String.raw`{}`],
  ['UDPPacket', String.raw`{"c":"aGVsbG8=","r":{"IP":"1.2.3.4","Port":1234,"Zone":""}}`],
  ['UDPPacket', String.raw`{"r":{"IP":"fe80::1","Port":1,"Zone":"eth\u003c0\u003e"}}`],
  ['UDPPacket', String.raw`{"c":"AP8+Pw==","r":{"IP":"","Port":0,"Zone":""}}`],
  ['NatHoleVisitor', String.raw`{}`],
  [
    'NatHoleVisitor',
    String.raw`{"transaction_id":"t","proxy_name":"p","pre_check":true,"protocol":"quic","sign_key":"s","timestamp":4,"mapped_addrs":["1.2.3.4:5"],"assisted_addrs":["6.7.8.9:1"]}`,
  ],
  ['NatHoleClient', String.raw`{}`],
  [
    'NatHoleClient',
    String.raw`{"transaction_id":"t","proxy_name":"p","sid":"s","mapped_addrs":["1.2.3.4:5"],"assisted_addrs":["6.7.8.9:1"]}`,
  ],
  ['NatHoleResp', String.raw`{"detect_behavior":{}}`],
  [
    'NatHoleResp',
    String.raw`{"transaction_id":"t","sid":"s","protocol":"kcp","candidate_addrs":["a"],"assisted_addrs":["b"],"detect_behavior":{},"error":"e"}`,
  ],
  ['NatHoleSid', String.raw`{}`],
  ['NatHoleSid', String.raw`{"transaction_id":"t","sid":"s","response":true,"nonce":"n"}`],
  ['NatHoleReport', String.raw`{}`],
  ['NatHoleReport', String.raw`{"sid":"s","success":true}`],
]

export const goldenHellos = {
  client:
    '{"bootstrap":{"transport":"tcp","tls":true,"tcpMux":true},"capabilities":{"message":{"codecs":["json"]},"crypto":{"algorithms":["aes-256-gcm","xchacha20-poly1305"],"clientRandom":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}}',
  refusal: '{"selected":{"message":{"codec":"json"},"crypto":{}},"error":"no supported crypto algorithm"}',
  server:
    '{"selected":{"message":{"codec":"json"},"crypto":{"algorithm":"aes-256-gcm","serverRandom":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}}',
  transcript: '6554f149959efd7a5487a7bebd71ec7847681c4b5ba03159137730f81afac9d4',
} as const

/** "hello " and "world" in two writes; token 12345678, hellos {"a":1} and {"b":2}. */
export const goldenAeadStreams = [
  {
    algorithm: 'aes-256-gcm',
    role: 'client',
    hex: '6199f3537f772e39205b316f00000016779bd83f2c4bd984b9919137d3a68d5ec4fd4df3b37c00000015099a6fd37a9a42ca77fd9a557b765cd84b3133b17e',
  },
  {
    algorithm: 'aes-256-gcm',
    role: 'server',
    hex: '311d230769cd6de3a8009fcf0000001694a38756924344f195c0298275365c6437e20ed5c848000000153a18c1b31269010a861df13780828e39d7edf34c72',
  },
  {
    algorithm: 'xchacha20-poly1305',
    role: 'client',
    hex: '5f2cc03cd8a0df2bc8e7d3248afd78253baaa62433628e4600000016094de8dd20cd23b6bfbdac95cafa18b159c6dbb78327000000159cedbc68f5bc33168f093a70c447a30fd6eff8d57e',
  },
  {
    algorithm: 'xchacha20-poly1305',
    role: 'server',
    hex: 'f8d721539abf765fc5763dc5f552b3d97f874d5fa72cdafe000000162b38a775ed4ce2c8b9f719f9ca257e868a1288ce859e00000015211d6052199ecd6e71181e93f3b2c0ab106bc2c0fb',
  },
] as const

/** The same two writes under the key of the token 12345678. */
export const goldenCfbStream = '443db5c939e39e12672c6517755364166c2f2ff151bb64aa5d3b70'
