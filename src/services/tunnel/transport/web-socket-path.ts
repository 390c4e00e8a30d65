/** Where frp's WebSocket is, without anything behind it. */
export const webSocketPath = '/~!frp'
