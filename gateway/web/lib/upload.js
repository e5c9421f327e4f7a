// Uploads a file and reports progress, which XMLHttpRequest supports and `fetch` does not.

import { Problem, bearer, refresh } from "./api.js";

/** PUTs a file as the form part `file`. Calls `progress(0…1)`; `signal` cancels it. */
export async function upload(path, file, options = {}) {
  try {
    return await send(path, file, options);
  } catch (problem) {
    const isOld = problem instanceof Problem && problem.status === 401 && problem.code.startsWith("token-");
    if (!isOld) throw problem;
    await refresh();
    return send(path, file, options);
  }
}

function send(path, file, { progress = () => {}, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", file);
    request.open("PUT", path);
    request.setRequestHeader("Accept", "application/json");
    if (bearer()) request.setRequestHeader("Authorization", `Bearer ${bearer()}`);
    request.upload.addEventListener("progress", (event) => progress(event.lengthComputable ? event.loaded / event.total : 0));
    request.addEventListener("load", () => {
      const body = read(request.responseText);
      if (request.status < 300) resolve(body);
      else reject(new Problem({ code: `http-${request.status}`, ...body, status: request.status }));
    });
    request.addEventListener("error", () => reject(new Problem({ status: 0, code: "offline" })));
    request.addEventListener("abort", () => reject(new DOMException("given up", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
