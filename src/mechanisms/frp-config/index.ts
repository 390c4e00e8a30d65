/** The configuration of frps and frpc: files in every format that frp takes, in, checked models out. */
export * from './config.ts'
