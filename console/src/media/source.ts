/** Something to publish, and the way to let it go. */
export interface Source {
  readonly media: MediaStream
  close(): void
}
