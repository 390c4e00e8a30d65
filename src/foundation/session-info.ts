/** One session as operators see it. Every service that has sessions lists them in this shape. */
export interface SessionInfo {
  /** Names the session in the admin API; unique in this process, and no key to the session itself. */
  readonly id: string
  readonly protocol: 'webrtc' | 'rtmp' | 'http' | 'hls' | 'srt'
  readonly role: 'publish' | 'play'
  /** `vhost/app/stream`. */
  readonly streamKey: string
  readonly originId: string
  /** Of the client; absent while it has not been heard from. */
  readonly address?: string
  /** Wall time of its begin, in milliseconds. */
  readonly sinceMs: number
  /** Bytes of media received from the client. */
  readonly bytesIn: number
  /** Bytes of media sent to the client. */
  readonly bytesOut: number
}

/** What a service offers to those who list and end its sessions. */
export interface SessionDirectory {
  listSessions(): readonly SessionInfo[]
  /** How many there are, those that are being made too. */
  readonly sessionCount: number
  /** Ends a session at once. False when it has no session of that id. */
  kickSession(id: string): boolean
}
