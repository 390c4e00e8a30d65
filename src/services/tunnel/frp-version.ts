/** The version of frp whose wire and behaviour this is. Peers show it, and some tools compare it. */
export const frpVersion = '0.70.1'
