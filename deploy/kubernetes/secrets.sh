#!/usr/bin/env bash
# Prints the Secrets of a deployment, with random values where nobody outside knows them:
#   kubectl apply --filename deploy/kubernetes/namespace/namespace.yaml
#   PAYMENT_API_KEY=… PAYMENT_WEBHOOK_SECRET=… SMTP_URL=… deploy/kubernetes/secrets.sh | kubectl create --namespace marquee -f -
# `create` changes no existing Secret. Keep a copy where you keep secrets: the database has the same passwords.
set -euo pipefail

: "${PAYMENT_API_KEY:?the secret key of the payment provider}"
: "${PAYMENT_WEBHOOK_SECRET:?the key that the provider signs its webhooks with}"
: "${SMTP_URL:?the mail server, such as smtps://user:password@mail.example}"

# 24 bytes as letters, digits, - and _.
random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
encoded() { printf '%s' "$1" | base64 | tr -d '\n'; }

# In the arguments of a command a failure would be ignored, and an empty key be printed.
jwt_private_key=$(openssl genpkey -algorithm ed25519)

# secret NAME TYPE KEY VALUE …
secret() {
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\ntype: %s\ndata:\n' "$1" "$2"
    shift 2
    while [ $# != 0 ]; do
        printf '  %s: %s\n' "$1" "$(encoded "$2")"
        shift 2
    done
}

# Each host's own, as one folder of files in its pod.
secret marquee-auth Opaque nats-password "$(random)" database-password "$(random)" \
    super-admin-password "${SUPER_ADMIN_PASSWORD:-$(random)}" jwt-private-key "$jwt_private_key"
secret marquee-movie Opaque nats-password "$(random)" database-password "$(random)"
secret marquee-reservation Opaque nats-password "$(random)" database-password "$(random)"
secret marquee-payment Opaque nats-password "$(random)" database-password "$(random)" \
    payment-api-key "$PAYMENT_API_KEY" payment-webhook-secret "$PAYMENT_WEBHOOK_SECRET"
secret marquee-notification Opaque nats-password "$(random)" database-password "$(random)" smtp-url "$SMTP_URL"
secret marquee-scheduler Opaque nats-password "$(random)"
secret marquee-gateway Opaque nats-password "$(random)" metrics-token "$(random)"
# NATS needs the bridge's user even where no bridge runs.
secret marquee-bridge Opaque nats-password "$(random)" amqp-password "${AMQP_PASSWORD:-$(random)}"
# `marquee migrate`, the command line, and the routes between NATS's servers.
secret marquee-operator Opaque maintenance-password "$(random)" nats-password "$(random)" route-password "$(random)"
# CloudNativePG reads the owner's password from it.
secret postgres-owner kubernetes.io/basic-auth username marquee password "$(random)"
