declare const streamKeyBrand: unique symbol

/** `vhost/app/stream`, what routing hangs on. */
export type StreamKey = string & { readonly [streamKeyBrand]: true }
